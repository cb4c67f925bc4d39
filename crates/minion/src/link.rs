//! One signed-in connection to one master: requests under its session key, publications under
//! its AES key, and the renewal of both when the master has new ones.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use saltern_base::Jid;
use saltern_crypto::PublicKey;
use saltern_failover::{Pace, Verdict};
use saltern_transport::zeromq::{RequestError, Requester};
use saltern_value::{Map, Value};
use saltern_wire::Verified;
use saltern_wire::auth::client::{Credentials, Hints};
use saltern_wire::command::NOTICE;
use saltern_wire::publish::{
    Dropped, OpenError as PublicationError, Opener, Publication, SignaturePolicy,
};
use saltern_wire::session::client::{ClientSession, OpenError};

use crate::access::{Access, NotSignedIn, Purpose};
use crate::jobs::Taken;

/// What a link tells the one who watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// The master answered under its session key.
    Heard,
    /// A request was not answered in time: worth a probe.
    Suspect,
    /// The master does not take our key any more.
    SignedOut,
    /// We do not believe the master any more.
    Untrusted,
}

/// Hears what a link has to say. Must not wait.
pub(crate) type Tell = Box<dyn Fn(LinkEvent) + Send + Sync>;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// No answer, or no connection.
    Transport(RequestError),
    /// Signing in again failed.
    SignIn(NotSignedIn),
    /// The answer was a refusal or cannot be believed.
    Answer(OpenError),
    /// The request could not be sealed.
    Local(String),
}

/// A signed-in connection.
pub(crate) struct Link {
    access: Arc<Access>,
    master: usize,
    requester: Requester,
    publish_port: u16,
    keys: Mutex<Keys>,
    /// Held during a sign-in, so that many who need one share one.
    renewal: tokio::sync::Mutex<()>,
    /// The master is in use, as opposed to kept ready.
    used: AtomicBool,
    /// The key of the master is to be written into the file once it is in use.
    store: AtomicBool,
    tell: Tell,
}

struct Keys {
    session: ClientSession,
    opener: Opener,
    /// Counts sign-ins, so a second one is not made for the same reason.
    generation: u64,
    /// How many minions the master had at the last sign-in, where it said so.
    minions: Option<u64>,
    /// The master sends publications to those who take their topics only.
    topics: bool,
    /// How often the master wants to be asked.
    pace: Pace,
    master_key: PublicKey,
}

impl Link {
    /// A connection with what a sign-in has given.
    pub(crate) fn new(
        access: Arc<Access>,
        master: usize,
        requester: Requester,
        credentials: &Credentials,
        tell: Tell,
    ) -> Self {
        let keys = Keys {
            session: ClientSession::new(&access.identity, credentials),
            opener: opener(&access, credentials),
            generation: 0,
            minions: credentials.hints.minions,
            topics: credentials.hints.topics,
            pace: pace(&credentials.hints),
            master_key: credentials.master_key.clone(),
        };
        Link {
            publish_port: publish_port(&access, credentials),
            access,
            master,
            requester,
            keys: Mutex::new(keys),
            renewal: tokio::sync::Mutex::default(),
            used: AtomicBool::new(false),
            store: AtomicBool::new(credentials.store_master_key.is_some()),
            tell,
        }
    }

    /// Keeps the request connection open although nobody uses it, until the link is used.
    pub(crate) fn hold(&self) {
        self.access.keys.remember(self.master, &self.keys().master_key, false);
        self.requester.hold(true);
    }

    /// The master takes our publications from now on: every check has passed, so its key is the
    /// one to remember.
    pub(crate) fn put_to_use(&self) {
        self.used.store(true, Ordering::Relaxed);
        self.requester.hold(false);
        let store = self.store.load(Ordering::Relaxed);
        self.access.keys.remember(self.master, &self.keys().master_key, store);
    }

    /// Whether a connection for requests is open, as far as this end can tell.
    pub(crate) fn is_connected(&self) -> bool {
        self.requester.is_connected()
    }

    /// How many minions the master had at the last sign-in, where it said so.
    pub(crate) fn minions(&self) -> Option<u64> {
        self.keys().minions
    }

    /// How often the master wants to be asked, as it said last.
    pub(crate) fn pace(&self) -> Pace {
        self.keys().pace
    }

    /// The client of its requests.
    pub(crate) fn requester(&self) -> &Requester {
        &self.requester
    }

    /// The position of the master in `master`.
    pub(crate) fn master(&self) -> usize {
        self.master
    }

    /// The master's name as configured.
    pub(crate) fn name(&self) -> &str {
        self.access.master_name(self.master)
    }

    /// Where the master publishes.
    pub(crate) fn publications(&self) -> String {
        let address = self.access.settings.masters.get(self.master);
        address.map(|a| a.publications(self.publish_port)).unwrap_or_default()
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and opens the answer; signs in again, once, when the master does not know
    /// our session key any more. `timeout` is that of each of the two tries.
    pub(crate) async fn request(&self, load: Map, timeout: Duration) -> Result<Value, LinkError> {
        self.twice(&self.requester, load, timeout, ClientSession::open).await
    }

    /// Asks for the pillar; `load` as for [`Link::request`].
    pub(crate) async fn pillar(&self, load: Map, timeout: Duration) -> Result<Map, LinkError> {
        self.twice(&self.requester, load, timeout, ClientSession::open_pillar).await
    }

    /// A cheap request under the session key, over a connection of its own: requests that wait do
    /// not hide whether the master answers.
    pub(crate) async fn prove(
        &self,
        requester: &Requester,
        timeout: Duration,
    ) -> Result<Value, LinkError> {
        if self.access.keys.trust_changed(self.master) {
            let generation = self.keys().generation;
            self.renew(generation).await.map_err(LinkError::SignIn)?;
        }
        // A master of ours says how often it wants to be asked by now: that it was told a fleet that
        // has just come one by one is not what it would say to all of them.
        let paced = self.pace() != Pace::default();
        let load = Map::from([("cmd", if paced { NOTICE } else { "_file_envs" })]);
        let answer = self.twice(requester, load, timeout, ClientSession::open).await?;
        let hints = Hints::of_notice(&answer);
        if paced && hints.minions.is_some() {
            let mut keys = self.keys();
            (keys.pace, keys.minions) = (pace(&hints), hints.minions);
            drop(keys);
            // Whoever hears that looks at the pace.
            self.tell(LinkEvent::Heard);
        }
        Ok(answer)
    }

    async fn twice<T>(
        &self,
        requester: &Requester,
        load: Map,
        timeout: Duration,
        open: fn(&ClientSession, &str, &[u8]) -> Result<T, OpenError>,
    ) -> Result<T, LinkError> {
        let generation = self.keys().generation;
        let first = self.once(requester, load.clone(), timeout, open).await;
        if !matches!(first, Err(LinkError::Answer(OpenError::NeedsAuth))) {
            return first;
        }
        self.renew(generation).await.map_err(LinkError::SignIn)?;
        self.once(requester, load, timeout, open).await
    }

    async fn once<T>(
        &self,
        requester: &Requester,
        load: Map,
        timeout: Duration,
        open: fn(&ClientSession, &str, &[u8]) -> Result<T, OpenError>,
    ) -> Result<T, LinkError> {
        let session = self.keys().session.clone();
        // As in Salt masters look at the signatures of returns alone.
        let signed =
            self.access.opts.minion_sign_messages && load.get_str("cmd") == Some("_return");
        let now = SystemTime::now();
        let sealed = if signed { session.seal_signed(load, now) } else { session.seal(load, now) };
        let sealed = sealed.map_err(|e| LinkError::Local(e.to_string()))?;
        let answer = requester.request(sealed.body, timeout).await.map_err(|e| {
            self.tell(LinkEvent::Suspect);
            LinkError::Transport(e)
        })?;
        let opened = open(&session, &sealed.nonce, &answer).map_err(LinkError::Answer)?;
        self.tell(LinkEvent::Heard);
        Ok(opened)
    }

    fn tell(&self, event: LinkEvent) {
        (self.tell)(event);
    }

    /// The generation of the keys, to be given to [`Link::renew`] when they turn out to be old.
    pub(crate) fn generation(&self) -> u64 {
        self.keys().generation
    }

    /// The topics to subscribe to: everything, unless the master addresses its publications, as one
    /// of ours says when it signs us in and `zmq_filtering` says of others.
    pub(crate) fn topics(&self) -> Vec<Vec<u8>> {
        let keys = self.keys();
        if !keys.topics && !self.access.opts.zmq_filtering {
            return vec![Vec::new()];
        }
        keys.opener.topics().iter().map(|t| t.as_bytes().to_vec()).collect()
    }

    /// The payload of a message, when its topic is ours.
    pub(crate) fn payload(&self, frames: &[Vec<u8>]) -> Result<Vec<u8>, Dropped> {
        self.keys().opener.payload(frames).map(<[u8]>::to_vec)
    }

    /// Opens a publication. [`PublicationError::NeedsReauth`] says that the master has a new AES
    /// key: renew, then open the same bytes again.
    pub(crate) fn open(&self, payload: &[u8]) -> Result<Verified<Publication>, PublicationError> {
        self.keys().opener.open(payload)
    }

    /// Notes that the job opened last is about to run. Must come before the next
    /// [`Link::open`], which one reader calls.
    pub(crate) fn note_taken(&self, jid: &Jid) {
        let (mark, serial) = {
            let keys = self.keys();
            (keys.opener.key_mark(), keys.opener.serial())
        };
        taken(&self.access).note(&mark, serial, jid);
    }

    /// Signs in again, unless somebody did since the keys were of that `generation`.
    pub(crate) async fn renew(&self, generation: u64) -> Result<(), NotSignedIn> {
        let _one_at_a_time = self.renewal.lock().await;
        if self.keys().generation != generation {
            return Ok(());
        }
        log::debug!("Signing in again at the master {}", self.name());
        let used = self.used.load(Ordering::Relaxed);
        let purpose = if used { Purpose::Use } else { Purpose::Standby };
        let signed_in = self.access.sign_in(self.master, &self.requester, purpose).await;
        let credentials = signed_in.inspect_err(|error| {
            log::warn!("Signing in again at {} failed: {error}", self.name());
            self.tell(match error {
                NotSignedIn::Failed(_) if matches!(error.verdict(), Verdict::Hard(_)) => {
                    LinkEvent::Untrusted
                }
                NotSignedIn::Pending
                | NotSignedIn::Rejected
                | NotSignedIn::Denied
                | NotSignedIn::Full
                | NotSignedIn::Draining(..)
                | NotSignedIn::Failed(_) => LinkEvent::SignedOut,
                _ => LinkEvent::Suspect,
            });
        })?;
        let store = credentials.store_master_key.is_some();
        self.store.store(store, Ordering::Relaxed);
        self.access.keys.remember(self.master, &credentials.master_key, store && used);
        let mut keys = self.keys();
        keys.minions = credentials.hints.minions;
        keys.topics = credentials.hints.topics;
        keys.pace = pace(&credentials.hints);
        keys.master_key = credentials.master_key.clone();
        keys.session = ClientSession::new(&self.access.identity, &credentials);
        keys.opener.rekey(&credentials);
        resume(&self.access, &mut keys.opener);
        keys.generation += 1;
        self.tell(LinkEvent::Heard);
        Ok(())
    }
}

fn opener(access: &Access, credentials: &Credentials) -> Opener {
    let policy = if access.unsigned_publications {
        SignaturePolicy::WhenPresent
    } else {
        SignaturePolicy::Required
    };
    let mut opener = Opener::new(&access.settings.id, credentials, policy);
    resume(access, &mut opener);
    opener
}

/// What was taken under this AES key before, over another connection or by a former run, is not
/// taken again.
fn resume(access: &Access, opener: &mut Opener) {
    let serial = taken(access).serial(&opener.key_mark());
    opener.resume_after(serial);
}

fn taken(access: &Access) -> MutexGuard<'_, Taken> {
    access.taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often the master wants to be asked.
fn pace(hints: &Hints) -> Pace {
    Pace { heartbeat: hints.heartbeat, probe: hints.probe }
}

/// Salt's rule: the option counts unless it has the value of the request port.
fn publish_port(access: &Access, credentials: &Credentials) -> u16 {
    access.opts.publish_port.filter(|p| *p != 4506).unwrap_or(credentials.publish_port)
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Transport(error) => write!(f, "{error}"),
            LinkError::SignIn(error) => write!(f, "signing in again failed: {error}"),
            LinkError::Answer(error) => write!(f, "{error}"),
            LinkError::Local(error) => f.write_str(error),
        }
    }
}
