//! One signed-in way from a simulated minion to a master.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use saltern_failover::{Hard, Pace, Soft, Verdict};
use saltern_minion::verdict;
use saltern_transport::zeromq::{RequestError, Requester, RequesterOptions};
use saltern_value::{Map, Value};
use saltern_wire::auth::Identity;
use saltern_wire::auth::client::{Credentials, Hints, Outcome, SignIn};
use saltern_wire::command::NOTICE;
use saltern_wire::publish::{Dropped, OpenError as PublicationError, Opener, SignaturePolicy};
use saltern_wire::session::client::{ClientSession, OpenError};

use crate::fleet::{Fleet, Opened};
use crate::stats::{less, more};

/// Longest time a sign-in may take.
const SIGN_IN: Duration = Duration::from_secs(60);

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No answer.
    Transport(RequestError),
    /// The master does not take us any more.
    SignIn(Verdict),
    /// The answer does not hold, or is a refusal.
    Answer(String),
}

/// One way to a master.
#[derive(Debug)]
pub(crate) struct Link {
    fleet: Arc<Fleet>,
    identity: Identity,
    pub(crate) master: usize,
    pub(crate) requester: Requester,
    keys: Mutex<Keys>,
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Keys {
    session: ClientSession,
    opener: Opener,
    mark: Arc<str>,
    generation: u64,
    topics: bool,
    pace: Pace,
    publish_port: u16,
}

/// A client for requests of one minion to one master.
pub(crate) fn requester(fleet: &Fleet, master: usize) -> Requester {
    let address = fleet.plan.masters.get(master).map(|place| place.requests.clone());
    let options = RequesterOptions { max_connections: 2, ..RequesterOptions::default() };
    Requester::new(address.unwrap_or_default(), options)
}

/// Counts down when it is dropped.
struct Under<'a>(&'a Fleet);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        less(&self.0.stats.signing_in);
    }
}

/// Signs in once.
async fn sign_in(
    fleet: &Fleet,
    identity: &Identity,
    requester: &Requester,
    master: usize,
    standby: bool,
) -> Result<Credentials, Verdict> {
    more(&fleet.stats.signing_in);
    let _under = Under(fleet);
    let began = Instant::now();
    let local = |error: &dyn std::fmt::Display| {
        fleet.stats.error(&format!("sign-in: {error}"));
        Verdict::Hard(Hard::Local)
    };
    let (sign_in, body) =
        SignIn::begin_as(identity, &fleet.known(master), None, standby, &fleet.trust)
            .map_err(|error| local(&error))?;
    let answer = requester.request(body, SIGN_IN).await.map_err(|error| {
        fleet.stats.error(&format!("sign-in: {error}"));
        Verdict::Soft(verdict::of_request(&error))
    })?;
    let outcome = sign_in.finish(&fleet.trust, &answer).map_err(|error| {
        fleet.stats.error(&format!("sign-in: {error}"));
        verdict::of_sign_in(&error.failure)
    })?;
    let refused = match outcome {
        Outcome::Accepted(credentials) => {
            more(&fleet.stats.sign_ins);
            fleet.stats.sign_in.add(began.elapsed());
            if let Some(pem) = &credentials.store_master_key {
                fleet.remember(master, pem);
            }
            return Ok(*credentials);
        }
        Outcome::Pending => Soft::Pending,
        Outcome::Rejected => Soft::Rejected,
        Outcome::Denied => Soft::Denied,
        Outcome::Full => Soft::Full,
        Outcome::Busy { retry_after } => Soft::Busy { retry_after },
        Outcome::Draining { retry_after, .. } => Soft::Draining { retry_after },
    };
    if let Some(why) = told(&refused) {
        fleet.stats.error(why);
    }
    Err(Verdict::Soft(refused))
}

/// Refusals that somebody has to look at; that a key is pending has a gauge of its own.
fn told(refused: &Soft) -> Option<&'static str> {
    Some(match refused {
        // Real Salt says the same where another key has this id.
        Soft::Rejected => {
            "sign-in: the key is rejected, or another one has this id; --key-dir keeps keys, \
             salt-key -d forgets them"
        }
        Soft::Denied => {
            "sign-in: denied, another key has this id; --key-dir keeps keys, salt-key -d forgets them"
        }
        Soft::Full => "sign-in: the master is full (max_minions, or too many sign-ins)",
        Soft::Busy { .. } => "sign-in: put off, too many at once",
        Soft::Draining { .. } => "sign-in: put off, the master is drained",
        _ => return None,
    })
}

fn pace(hints: &Hints) -> Pace {
    Pace { heartbeat: hints.heartbeat, probe: hints.probe }
}

impl Keys {
    fn new(identity: &Identity, credentials: &Credentials, generation: u64) -> Self {
        let opener = Opener::new(identity.id(), credentials, SignaturePolicy::WhenPresent);
        Keys {
            session: ClientSession::new(identity, credentials),
            mark: opener.key_mark().into(),
            opener,
            generation,
            topics: credentials.hints.topics,
            pace: pace(&credentials.hints),
            publish_port: credentials.publish_port,
        }
    }
}

impl Link {
    /// How often the master wants to be asked, as it said last.
    pub(crate) fn pace(&self) -> Pace {
        self.keys().pace
    }

    /// A request under the session key; as the real minion, it asks a master of ours how often it
    /// wants to be asked.
    pub(crate) async fn prove(
        &self,
        requester: &Requester,
        deadline: Duration,
    ) -> Result<(), Failed> {
        let paced = self.pace() != Pace::default();
        let load = Map::from([("cmd", if paced { NOTICE } else { "_file_envs" })]);
        let hints = Hints::of_notice(&self.request(requester, load, deadline).await?);
        if paced && hints.minions.is_some() {
            self.keys().pace = pace(&hints);
        }
        Ok(())
    }

    /// Signs in and gives the way that came of it.
    pub(crate) async fn open(
        fleet: Arc<Fleet>,
        identity: Identity,
        master: usize,
        standby: bool,
    ) -> Result<Arc<Link>, Verdict> {
        let requester = requester(&fleet, master);
        let credentials = sign_in(&fleet, &identity, &requester, master, standby).await?;
        let keys = Mutex::new(Keys::new(&identity, &credentials, 0));
        let renewal = tokio::sync::Mutex::default();
        Ok(Arc::new(Link { fleet, identity, master, requester, keys, renewal }))
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where and what to subscribe to.
    pub(crate) fn publications(&self) -> (String, Vec<Vec<u8>>) {
        let keys = self.keys();
        let plan = &self.fleet.plan;
        let host = plan.masters.get(self.master).map_or("", |place| place.host.as_str());
        let port = plan.publish_port.unwrap_or(keys.publish_port);
        let topics = match keys.topics {
            true => keys.opener.topics().iter().map(|t| t.as_bytes().to_vec()).collect(),
            false => vec![Vec::new()],
        };
        (format!("{host}:{port}"), topics)
    }

    /// Opens what came over the subscription; signs in anew, once, when the keys are old.
    pub(crate) async fn publication(&self, frames: &[Vec<u8>]) -> Option<Arc<Opened>> {
        for again in [true, false] {
            let (opened, generation) = {
                let mut keys = self.keys();
                let keys = &mut *keys;
                let opened = match keys.opener.payload(frames) {
                    Ok(payload) => {
                        let payload = payload.to_vec();
                        self.fleet.open(&mut keys.opener, &keys.mark, &payload)
                    }
                    Err(why) => Err(PublicationError::Dropped(why)),
                };
                (opened, keys.generation)
            };
            match opened {
                Ok(opened) => return Some(opened),
                Err(PublicationError::Dropped(Dropped::OtherTopic)) => return None,
                Err(PublicationError::Dropped(why)) => {
                    self.fleet.stats.error(&format!("publication: {why}"));
                    return None;
                }
                Err(PublicationError::NeedsReauth) if again => {
                    if self.renew(generation).await.is_err() {
                        self.fleet.stats.error("publication: no new keys to open it with");
                        return None;
                    }
                }
                Err(PublicationError::NeedsReauth) => {
                    self.fleet.stats.error("publication: sealed with another key");
                }
            }
        }
        None
    }

    /// Signs in again unless somebody did since.
    pub(crate) async fn renew(&self, generation: u64) -> Result<(), Verdict> {
        let _one_at_a_time = self.renewal.lock().await;
        if self.keys().generation != generation {
            return Ok(());
        }
        let (fleet, identity) = (&self.fleet, &self.identity);
        let credentials = sign_in(fleet, identity, &self.requester, self.master, false).await?;
        let mut keys = self.keys();
        *keys = Keys::new(identity, &credentials, generation + 1);
        Ok(())
    }

    /// Sends a request and opens the answer; signs in anew, once, when the session is not known.
    pub(crate) async fn request(
        &self,
        requester: &Requester,
        load: Map,
        timeout: Duration,
    ) -> Result<Value, Failed> {
        self.ask(requester, load, timeout, ClientSession::open).await
    }

    /// Asks for the pillar.
    pub(crate) async fn pillar(&self, load: Map, timeout: Duration) -> Result<Map, Failed> {
        self.ask(&self.requester, load, timeout, ClientSession::open_pillar).await
    }

    async fn ask<T>(
        &self,
        requester: &Requester,
        load: Map,
        timeout: Duration,
        open: fn(&ClientSession, &str, &[u8]) -> Result<T, OpenError>,
    ) -> Result<T, Failed> {
        for again in [true, false] {
            let (session, generation) = {
                let keys = self.keys();
                (keys.session.clone(), keys.generation)
            };
            let sealed = session.seal(load.clone(), SystemTime::now());
            let sealed = sealed.map_err(|error| Failed::Answer(error.to_string()))?;
            let answer =
                requester.request(sealed.body, timeout).await.map_err(Failed::Transport)?;
            match open(&session, &sealed.nonce, &answer) {
                Ok(value) => return Ok(value),
                Err(OpenError::NeedsAuth) if again => {
                    self.renew(generation).await.map_err(Failed::SignIn)?;
                }
                Err(error) => return Err(Failed::Answer(error.to_string())),
            }
        }
        Err(Failed::Answer("the session is not known".to_owned()))
    }
}
