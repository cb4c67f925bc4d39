//! Emptying a master for maintenance (R17): new sign-ins are sent on, Saltern's minions are told to
//! leave, those of real Salt lose their connection as soon as none of their jobs runs, and the
//! request port stays open for what comes back. The wish survives a restart; `work` carries it out.

mod work;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use saltern_base::{MinionId, atomic_file};
use saltern_transport::zeromq::Publisher;
use saltern_value::{Map, Value, json};
use saltern_wire::auth::server::{Asker, AuthRequest, Refusal, Why};
use tokio::sync::{RwLock, watch};

use crate::context::{Shared, lock};
pub(crate) use work::run;

/// The file with the wish, in `cachedir`.
const FILE: &str = "drain.json";
/// When a minion that was sent on may ask here again.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Longest time over which minions may be spread.
const WITHIN_MAX: f64 = 86_400.0;

/// What the operator wants of a master that is to be empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    /// Since when.
    pub(crate) since: SystemTime,
    /// Where the minions are to go, by the name in their configuration.
    pub(crate) to: Option<String>,
    /// The time over which they leave.
    pub(crate) within: Duration,
}

/// Whether this master is drained, and how far that is.
pub(crate) struct Drain {
    path: PathBuf,
    publisher: Arc<Publisher>,
    wish: watch::Sender<Option<Wish>>,
    left: Mutex<Left>,
    /// The minions of ours that have signed in; the value is whether only to be prepared.
    ours: Mutex<HashMap<MinionId, Asker>>,
    /// Held for reading while a job is kept and sent, so that no connection is closed in between.
    pub(crate) publishing: RwLock<()>,
}

/// What still keeps the master from being empty, as of the last look.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Left {
    /// Whether there was a look since the drain began.
    pub(crate) looked: bool,
    /// Minions still connected, each with the reason.
    pub(crate) minions: BTreeMap<String, String>,
    /// Jobs that have not been returned: their ids, functions and minions.
    pub(crate) jobs: BTreeMap<String, (String, Vec<String>)>,
}

/// Why a wish could not be kept.
#[derive(Debug)]
pub(crate) struct NotKept(PathBuf, io::Error);

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not be written: {}", self.0.display(), self.1)
    }
}

impl Drain {
    /// Reads what a former run was told. A file that cannot be read counts: who has drained a
    /// master does not want to find it full again.
    pub(crate) fn open(cachedir: &std::path::Path, publisher: Arc<Publisher>) -> Self {
        let path = cachedir.join(FILE);
        let wish = match std::fs::read_to_string(&path) {
            Ok(text) => Some(Wish::read(&text).unwrap_or_else(|| {
                log::error!("{} is damaged; this master stays drained", path.display());
                Wish { since: SystemTime::now(), to: None, within: Duration::ZERO }
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::error!(
                    "{} is not readable: {error}; this master is not drained",
                    path.display()
                );
                None
            }
        };
        Drain {
            path,
            publisher,
            wish: watch::Sender::new(wish),
            left: Mutex::default(),
            ours: Mutex::default(),
            publishing: RwLock::new(()),
        }
    }

    /// What is wanted, if the master is to be empty.
    pub(crate) fn wish(&self) -> Option<Wish> {
        self.wish.borrow().clone()
    }

    /// What is left, as of the last look.
    pub(crate) fn left(&self) -> Left {
        lock(&self.left).clone()
    }

    /// Starts to drain, or changes where to and how fast.
    ///
    /// # Errors
    /// When it could not be written down; nothing has begun then.
    pub(crate) fn begin(&self, to: Option<String>, within: Duration) -> Result<(), NotKept> {
        let before = self.wish();
        // Who is left is looked at all the while.
        let again = before.is_some();
        let since = before.map_or_else(SystemTime::now, |wish| wish.since);
        let wish = Wish { since, to, within };
        let text = json::to_string(&Value::Map(wish.to_map()), None) + "\n";
        atomic_file::write(&self.path, text.as_bytes(), 0o644)
            .map_err(|error| NotKept(self.path.clone(), error))?;
        lock(&self.left).looked &= again;
        self.wish.send_replace(Some(wish));
        Ok(())
    }

    /// Takes minions again. Returns whether it was drained before.
    ///
    /// # Errors
    /// When the file cannot be removed, and the master stays drained, or when the publish port
    /// has been taken by somebody else, which is then tried again until it works.
    pub(crate) fn end(&self) -> Result<bool, String> {
        if self.wish().is_none() {
            return Ok(false);
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(NotKept(self.path.clone(), error).to_string());
            }
            _ => {}
        }
        self.wish.send_replace(None);
        *lock(&self.left) = Left::default();
        self.publisher.listen_again().map(|()| true).map_err(|error| {
            let port = self.publisher.local_addr().port();
            format!(
                "The publish port {port} cannot be opened ({error}); the master goes on trying. \
                 See what listens there, e.g. with ss -ltnp."
            )
        })
    }

    /// Whether minions can subscribe.
    pub(crate) fn listens(&self) -> bool {
        self.publisher.is_listening()
    }

    /// Remembers who signs in and is one of ours.
    pub(crate) fn met(&self, id: &MinionId, asker: Option<&Asker>) {
        let mut ours = lock(&self.ours);
        match asker {
            Some(asker) => drop(ours.insert(id.clone(), asker.clone())),
            None => drop(ours.remove(id)),
        }
    }

    /// Forgets a minion whose key is gone.
    pub(crate) fn forget(&self, id: &MinionId) {
        lock(&self.ours).remove(id);
    }

    /// Whether this sign-in has to go elsewhere. Those who are still connected, and those whose
    /// jobs are still waited for, may need a fresh session to return something.
    pub(crate) fn keeps_out(&self, shared: &Shared, request: &AuthRequest) -> bool {
        if self.wish.borrow().is_none() {
            return false;
        }
        let id = request.id.as_str();
        let standby = request.asker.as_ref().is_some_and(|asker| asker.standby);
        let awaited = || {
            let left = lock(&self.left);
            left.jobs.values().any(|(_, minions)| minions.iter().any(|minion| minion == id))
        };
        !(awaited() || !standby && shared.presence.is_named(id))
    }

    /// The answer to those.
    pub(crate) fn refusal(&self) -> Refusal {
        let to = self.wish().and_then(|wish| wish.to);
        Refusal { why: Why::Draining, retry_after: RETRY_AFTER, to }
    }

    /// What `salt-run master.drain_status` shows.
    pub(crate) fn shown(&self) -> Map {
        let Some(wish) = self.wish() else {
            return Map::from([("draining", Value::Bool(false)), ("drained", false.into())]);
        };
        let left = self.left();
        let since = wish.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let jobs = left.jobs.iter().map(|(jid, (fun, minions))| {
            let job = Map::from([
                ("Function", Value::from(fun.as_str())),
                ("Running", minions.clone().into()),
            ]);
            (jid.as_str(), Value::Map(job))
        });
        Map::from([
            ("draining", Value::Bool(true)),
            ("drained", left.is_empty().into()),
            ("since", Value::Float(since.as_secs_f64())),
            ("to", wish.to.map_or(Value::Nil, Value::from)),
            ("within", Value::Float(wish.within.as_secs_f64())),
            ("minions", left.minions.iter().map(|(id, why)| (id.as_str(), why.as_str())).collect()),
            ("jobs", jobs.collect()),
        ])
    }
}

impl Left {
    /// Whether nobody and nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.looked && self.minions.is_empty() && self.jobs.is_empty()
    }
}

/// The time a number of seconds stands for, within bounds.
pub(crate) fn within(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, WITHIN_MAX)).unwrap_or_default()
}

impl Wish {
    fn to_map(&self) -> Map {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Map::from([
            ("since", Value::Float(since.as_secs_f64())),
            ("to", self.to.as_deref().map_or(Value::Nil, Value::from)),
            ("within", Value::Float(self.within.as_secs_f64())),
        ])
    }

    fn read(text: &str) -> Option<Self> {
        let value = json::parse(text).ok()?;
        let map = value.as_map()?;
        let seconds = |name: &str| {
            let number = map.get(name).and_then(Value::as_f64)?;
            Duration::try_from_secs_f64(number).ok()
        };
        let since = SystemTime::UNIX_EPOCH.checked_add(seconds("since")?)?;
        let to = map.get_str("to").map(str::to_owned);
        Some(Wish { since, to, within: seconds("within")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_as_it_was_written() {
        for to in [None, Some("m2:4506".to_owned())] {
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let wish = Wish { since, to, within: Duration::from_secs(30) };
            let text = json::to_string(&Value::Map(wish.to_map()), None);
            assert_eq!(Wish::read(&text), Some(wish));
        }
        for damaged in ["", "{}", "[1]", r#"{"since": -1, "within": 2}"#] {
            assert_eq!(Wish::read(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn times_have_bounds() {
        assert_eq!(within(-1.0), Duration::ZERO);
        assert_eq!(within(f64::NAN), Duration::ZERO);
        assert_eq!(within(1e300), Duration::from_secs(86_400));
    }
}
