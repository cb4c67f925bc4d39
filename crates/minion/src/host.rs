//! What modules see of the daemon. They run on threads of their own and may wait; the work they
//! wait for is done by the daemon's loop.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use saltern_config::MinionOptions;
use saltern_event::blocking;
use saltern_failover::ProbeResult;
use saltern_modules::{EventStream, Host, HostError, JobTable, Refresh};
use saltern_transport::zeromq::{RequestError, Requester};
use saltern_value::{Map, Value};
use saltern_wire::session::client::OpenError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::address::Address;
use crate::core::{Core, Facts, pillar_load};
use crate::link::{Link, LinkError};
use crate::settings::Settings;
use crate::verdict::ping;
use crate::{mine, persist, view};

/// Modules' view of one slot.
struct SlotHost {
    /// The table of jobs lives in the core, which outlives every job; this keeps it so.
    core: Arc<Core>,
    slot: usize,
}

/// The host of a slot.
pub(crate) fn host_of(core: &Arc<Core>, slot: usize) -> Arc<dyn Host> {
    Arc::new(SlotHost { core: core.clone(), slot })
}

impl SlotHost {
    fn facts(&self) -> Facts {
        self.core.slots.get(self.slot).map(|s| s.facts()).unwrap_or_default()
    }

    fn link(&self) -> Result<Arc<Link>, HostError> {
        self.core.any_link(self.slot).ok_or(HostError::NoMaster)
    }
}

/// Runs a future on the runtime's own thread and waits for it here.
pub(crate) fn wait_for<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, HostError> {
    let (sender, receiver) = oneshot::channel();
    runtime.spawn(async move { drop(sender.send(work.await)) });
    receiver.blocking_recv().map_err(|_| HostError::Failed("The minion is shutting down".into()))
}

/// A link's failure as modules are told it.
pub(crate) fn host_error(error: LinkError) -> HostError {
    match error {
        LinkError::Transport(RequestError::Timeout) => HostError::Timeout,
        LinkError::Transport(_) => HostError::NoMaster,
        LinkError::Answer(OpenError::Refused(words)) => HostError::Refused(words),
        LinkError::Answer(answer) => HostError::Refused(answer.to_string()),
        other => HostError::Failed(other.to_string()),
    }
}

impl Host for SlotHost {
    fn opts(&self) -> Arc<Map> {
        self.facts().opts
    }

    fn grains(&self) -> Arc<Map> {
        self.facts().grains
    }

    fn pillar(&self) -> Arc<Map> {
        self.facts().pillar
    }

    fn compile_pillar(
        &self,
        saltenv: Option<&str>,
        pillarenv: Option<&str>,
        overrides: Option<&Map>,
    ) -> Result<Map, HostError> {
        let load = pillar_load(&self.facts(), saltenv, pillarenv, overrides);
        let (core, slot) = (self.core.clone(), self.slot);
        let work = async move { persist::pillar(&core, slot, load).await };
        wait_for(&self.core.runtime, work)?.map_err(host_error)
    }

    fn request(&self, load: Map, timeout: Option<Duration>) -> Result<Value, HostError> {
        let (core, slot) = (self.core.clone(), self.slot);
        let work = async move { persist::request(&core, slot, load, timeout).await };
        wait_for(&self.core.runtime, work)?.map_err(host_error)
    }

    fn fire_event(&self, tag: &str, data: Map) -> bool {
        self.core.bus.fire(tag, data);
        true
    }

    fn events(&self) -> Result<Box<dyn EventStream>, HostError> {
        open_bus(&self.core.bus_path)
    }

    fn jobs(&self) -> &JobTable {
        &self.core.jobs
    }

    fn refresh(&self, what: Refresh, wait: bool) -> bool {
        let (core, slot) = (self.core.clone(), self.slot);
        let work = async move { refresh(&core, slot, what).await };
        if wait {
            return wait_for(&self.core.runtime, work).unwrap_or(false);
        }
        self.core.runtime.spawn(work);
        true
    }

    fn master(&self) -> Option<String> {
        self.link().ok().map(|link| link.name().to_owned())
    }

    fn is_local(&self) -> bool {
        self.core.access.opts.file_client == "local"
    }

    fn failover(&self) -> Map {
        view::shown(&self.core)
    }

    fn switch(&self, to: Option<&str>, within: Duration, drain: bool) -> Result<Map, HostError> {
        let (core, to) = (self.core.clone(), to.map(str::to_owned));
        let work = async move { view::move_away(&core, to.as_deref(), within, drain).await };
        wait_for(&self.core.runtime, work)?.map_err(HostError::Failed)
    }

    fn ping(&self, master: &str) -> bool {
        let settings = &self.core.access.settings;
        let work = pinged(settings, &self.core.access.opts, master);
        work.is_some_and(|work| wait_for(&self.core.runtime, work).unwrap_or(false))
    }
}

/// Asks a master, known or not, whether anybody answers there; `None` when it has no address.
pub(crate) fn pinged(
    settings: &Settings,
    opts: &MinionOptions,
    master: &str,
) -> Option<impl Future<Output = bool> + Send + 'static> {
    let known = settings.masters.iter().find(|a| a.name() == master || a.host() == master);
    let address = match known {
        Some(address) => address.requests(),
        None => Address::parse(master, opts.master_port, false).ok()?.requests(),
    };
    let requester = Requester::new(address, settings.prober());
    let deadline = settings.auth_timeout;
    Some(async move { ping(&requester, deadline).await == ProbeResult::Alive })
}

/// Renews something; `false` when it could not be.
pub(crate) async fn refresh(core: &Arc<Core>, slot: usize, what: Refresh) -> bool {
    match what {
        Refresh::Mine => return mine::update(core, slot).await,
        Refresh::Pillar => {}
        Refresh::Grains | Refresh::Modules => core.refresh_grains().await,
    }
    // The request for the pillar carries the grains: so the master hears of new ones.
    let Some(link) = core.slots.get(slot).and_then(|s| s.link()) else { return false };
    match core.refresh_pillar(slot, &link).await {
        Ok(()) => true,
        Err(error) => {
            log::error!("No pillar from {}: {error}; the former one stays", link.name());
            false
        }
    }
}

/// Opens a minion's bus for reading.
pub(crate) fn open_bus(path: &Path) -> Result<Box<dyn EventStream>, HostError> {
    match blocking::Subscriber::connect(path) {
        Ok(subscriber) => Ok(Box::new(BusReader { subscriber, path: path.to_owned() })),
        Err(error) => {
            Err(HostError::Failed(format!("No minion's bus at {}: {error}", path.display())))
        }
    }
}

struct BusReader {
    subscriber: blocking::Subscriber,
    path: PathBuf,
}

impl EventStream for BusReader {
    fn next(&mut self, wait: Option<Duration>) -> Result<Option<(String, Map)>, HostError> {
        let gone = |why: &str| HostError::Failed(format!("{}: {why}", self.path.display()));
        let deadline = wait.map(|wait| Instant::now() + wait);
        match self.subscriber.next("", deadline) {
            Ok(Some(event)) => Ok(Some((event.tag, event.data))),
            Ok(None) => Err(gone("the bus was closed")),
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => Ok(None),
            Err(e) => Err(gone(&e.to_string())),
        }
    }
}
