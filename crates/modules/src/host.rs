//! What a module may ask of the program it runs in: the minion daemon, or `salt-call`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use saltern_value::{Map, Value};

use crate::jobs::JobTable;

/// The program around the modules. All methods may block; they are called on a blocking thread.
pub trait Host: Send + Sync {
    /// Every option of the minion, defaults and unknown ones included (`Loaded::raw`), with `id`
    /// and `master` as they are in effect.
    fn opts(&self) -> Arc<Map>;

    /// The grains in effect.
    fn grains(&self) -> Arc<Map>;

    /// The pillar in memory.
    fn pillar(&self) -> Arc<Map>;

    /// Compiles a fresh pillar without keeping it. The arguments are the environment, the pillar
    /// environment and the override mapping of `pillar.items`.
    ///
    /// # Errors
    /// When no master answers, or the pillar does not compile.
    fn compile_pillar(
        &self,
        saltenv: Option<&str>,
        pillarenv: Option<&str>,
        overrides: Option<&Map>,
    ) -> Result<Map, HostError>;

    /// Sends a request (a load with `cmd`; the host adds `id` and what the session needs) to the
    /// master in use and waits for the answer, at most for `timeout` when one is given.
    /// Host of `salt-call --local`: pass the load to [`crate::Registry::answer_locally`].
    ///
    /// # Errors
    /// When there is no master, it did not answer in time, or refused.
    fn request(&self, load: Map, timeout: Option<Duration>) -> Result<Value, HostError>;

    /// Fires an event on the minion's own bus; `false` when there is no bus to fire on.
    fn fire_event(&self, tag: &str, data: Map) -> bool;

    /// Opens the minion's own event bus for reading.
    ///
    /// # Errors
    /// When no minion with a bus is running.
    fn events(&self) -> Result<Box<dyn EventStream>, HostError>;

    /// Prints one line to the user at once, where there is one (`salt-call`). A daemon drops it.
    fn emit(&self, line: &str) {
        log::debug!("{line}");
    }

    /// The jobs of this process.
    fn jobs(&self) -> &JobTable;

    /// Renews what `what` names. Returns when it is renewed if `wait`, else at once; `false` when
    /// it failed or nobody is there to do it.
    fn refresh(&self, what: Refresh, wait: bool) -> bool;

    /// The master in use, as configured (name or address); `None` when there is none.
    fn master(&self) -> Option<String>;

    /// Whether this is masterless work (`file_client: local`): files and pillar come from here.
    fn is_local(&self) -> bool;

    /// How this minion stands with its masters: what `failover.status` shows. `running` is false,
    /// and `comment` says why, when no minion daemon runs on this machine.
    fn failover(&self) -> Map;

    /// Moves the minion away from its master: to that master of its list, or to the next one that
    /// takes it. The connection in use is kept until then, so nothing is lost when nobody does.
    /// With `drain` it is the master that sends its minions away: the minion goes at a random
    /// moment `within` that time and tries until it succeeds; the call returns at once.
    /// The answer has `result` and `comment`, and `master`, the one in use afterwards.
    ///
    /// # Errors
    /// When there is no such master on the list, no other one, or no daemon to move.
    fn switch(&self, to: Option<&str>, within: Duration, drain: bool) -> Result<Map, HostError>;

    /// Whether anybody answers requests at that master: a clear `ping`, which proves nothing
    /// about who answers.
    fn ping(&self, master: &str) -> bool;
}

/// Events of the minion's bus, one after another.
pub trait EventStream: Send {
    /// The next event as tag and data, or `None` when none came within `wait` (`None`: for ever).
    ///
    /// # Errors
    /// When the bus has gone away.
    fn next(&mut self, wait: Option<Duration>) -> Result<Option<(String, Map)>, HostError>;
}

/// What a host can renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Compute the grains again, and tell the master.
    Grains,
    /// Ask for the pillar again.
    Pillar,
    /// Modules: ours are compiled in, so this only renews grains, as Salt's does on the way.
    Modules,
    /// Send the mine functions' results to the master now.
    Mine,
}

/// Why the host could not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is no master: masterless, or the connection is down.
    NoMaster,
    /// No answer in time.
    Timeout,
    /// The answer was a refusal or could not be trusted; the text says which.
    Refused(String),
    /// Anything else, in one sentence.
    Failed(String),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::NoMaster => f.write_str("No master is connected"),
            HostError::Timeout => f.write_str("The master did not answer in time"),
            HostError::Refused(text) | HostError::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for HostError {}
