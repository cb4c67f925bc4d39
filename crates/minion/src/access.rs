//! What every sign-in needs, and one sign-in at one master.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saltern_config::MinionOptions;
use saltern_failover::{Soft, Verdict};
use saltern_transport::zeromq::{RequestError, Requester};
use saltern_value::Map;
use saltern_wire::auth::Identity;
use saltern_wire::auth::client::{Credentials, Failure, Outcome, SignIn, SignInError, Warning};

use crate::jobs::Taken;
use crate::keys::{self, MasterKeys};
use crate::settings::{Settings, StartError};
use crate::verdict;
use crate::view::Notes;

/// The minion's half of every sign-in: who it is, whom it trusts, what it knows of masters.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) opts: MinionOptions,
    pub(crate) settings: Settings,
    pub(crate) identity: Identity,
    pub(crate) keys: MasterKeys,
    /// The jobs taken, of all masters and all runs of this minion.
    pub(crate) taken: Mutex<Taken>,
    /// What the last sign-in at each master said.
    pub(crate) notes: Notes,
    /// `autosign_grains` with their values.
    autosign: Option<Map>,
    /// `sign_pub_messages` was set to False: unsigned publications are taken. Unlike in Salt that
    /// is not the default, since every minion of a master has the key that seals them.
    pub(crate) unsigned_publications: bool,
}

/// A sign-in that gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotSignedIn {
    /// The master could not be asked.
    Transport(RequestError),
    /// Its answer does not hold.
    Failed(SignInError),
    /// Our key waits for acceptance.
    Pending,
    /// Our key was rejected.
    Rejected,
    /// Another key is on record there for our id.
    Denied,
    /// It has no place for us.
    Full,
    /// It has too many sign-ins to look at; when to come again.
    Busy(Duration),
    /// It is being emptied; when to ask again, and the master it sends us to.
    Draining(Duration, Option<String>),
}

/// What a sign-in is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The master is to be used.
    Use,
    /// To be ready for the day the master in use is lost.
    Standby,
}

impl Access {
    /// Opens or makes the keys. `grains` are looked at only for `autosign_grains`.
    pub(crate) fn open(
        opts: MinionOptions,
        settings: Settings,
        grains: &Map,
        unsigned_publications: bool,
    ) -> Result<Arc<Self>, StartError> {
        let key = keys::open_or_create(&opts)?;
        let id = settings.id.clone();
        let identity = Identity::new(id, key, settings.enc_algo, settings.sig_algo)
            .map_err(|e| StartError::new(1, format!("the minion's key cannot sign: {e}")))?;
        let autosign: Map = opts
            .autosign_grains
            .iter()
            .filter_map(|name| grains.get(name).map(|value| (name.as_str(), value.clone())))
            .collect();
        let autosign = (!opts.autosign_grains.is_empty()).then_some(autosign);
        let keys =
            MasterKeys::new(&opts, settings.masters.iter().map(|a| a.name().to_owned()).collect());
        let taken = Mutex::new(Taken::new(&opts.cachedir, settings.jids_remembered));
        Ok(Arc::new(Access {
            opts,
            settings,
            identity,
            keys,
            taken,
            notes: Notes::default(),
            autosign,
            unsigned_publications,
        }))
    }

    /// The name of a master as configured.
    pub(crate) fn master_name(&self, master: usize) -> &str {
        self.settings.masters.get(master).map_or("", |address| address.name())
    }

    /// A client for a master's requests; connects to nothing yet.
    pub(crate) fn requester(&self, master: usize) -> Requester {
        let address = self.settings.masters.get(master).map(|a| a.requests()).unwrap_or_default();
        Requester::new(address, self.settings.requester())
    }

    /// As [`Access::requester`], for probes: from any local port, so that they do not wait for a
    /// fixed one.
    pub(crate) fn prober(&self, master: usize) -> Requester {
        let address = self.settings.masters.get(master).map(|a| a.requests()).unwrap_or_default();
        Requester::new(address, self.settings.prober())
    }

    /// Signs in at a master, once, and notes for operators what it said.
    pub(crate) async fn sign_in(
        &self,
        master: usize,
        requester: &Requester,
        purpose: Purpose,
    ) -> Result<Credentials, NotSignedIn> {
        let done = self.sign_in_once(master, requester, purpose).await;
        match &done {
            Ok(credentials) => {
                self.notes.signed_in(master, credentials.hints.time.map(ahead));
            }
            Err(error) => self.notes.failed(master, error),
        }
        done
    }

    async fn sign_in_once(
        &self,
        master: usize,
        requester: &Requester,
        purpose: Purpose,
    ) -> Result<Credentials, NotSignedIn> {
        let cached = self.keys.known(master);
        let crypto = |e| NotSignedIn::Failed(SignInError::from(Failure::Crypto(e)));
        let standby = purpose == Purpose::Standby;
        let trust = self.keys.trust(master, self.settings.hash_type);
        let (sign_in, body) =
            SignIn::begin_as(&self.identity, &cached, self.autosign.as_ref(), standby, &trust)
                .map_err(crypto)?;
        let answer = requester.request(body, self.settings.auth_timeout).await?;
        match sign_in.finish(&trust, &answer).map_err(NotSignedIn::Failed)? {
            Outcome::Accepted(credentials) => {
                self.report(master, &credentials, purpose);
                Ok(*credentials)
            }
            Outcome::Pending => Err(NotSignedIn::Pending),
            Outcome::Rejected => Err(NotSignedIn::Rejected),
            Outcome::Denied => Err(NotSignedIn::Denied),
            Outcome::Full => Err(NotSignedIn::Full),
            Outcome::Busy { retry_after } => Err(NotSignedIn::Busy(retry_after)),
            Outcome::Draining { retry_after, to } => Err(NotSignedIn::Draining(retry_after, to)),
        }
    }

    fn report(&self, master: usize, credentials: &Credentials, purpose: Purpose) {
        let name = self.master_name(master);
        if let Some(verified_with) = &credentials.verified_with {
            // Tools look for these two lines in Salt's words.
            log::info!(
                "Successfully verified signature of master public key with verification public \
                 key {verified_with}"
            );
            log::info!("Received signed and verified master pubkey from master {name}");
        }
        for warning in &credentials.warnings {
            match warning {
                Warning::UnexpectedPubSig => log::warn!(
                    "The master {name} signs its key, which nobody checks: set \
                     verify_master_pubkey_sign and copy its verification key here"
                ),
            }
        }
        match purpose {
            Purpose::Use => log::info!("Authentication with master at {name} successful!"),
            Purpose::Standby => log::debug!("The master {name} would take this minion"),
        }
    }
}

impl NotSignedIn {
    /// What the failure means for the choice of a master.
    pub(crate) fn verdict(&self) -> Verdict {
        let failed = match self {
            NotSignedIn::Transport(error) => return Verdict::Soft(verdict::of_request(error)),
            NotSignedIn::Pending => return Verdict::Soft(Soft::Pending),
            NotSignedIn::Rejected => return Verdict::Soft(Soft::Rejected),
            NotSignedIn::Denied => return Verdict::Soft(Soft::Denied),
            NotSignedIn::Busy(retry_after) => {
                return Verdict::Soft(Soft::Busy { retry_after: *retry_after });
            }
            NotSignedIn::Draining(retry_after, _) => {
                return Verdict::Soft(Soft::Draining { retry_after: *retry_after });
            }
            NotSignedIn::Full => return Verdict::Soft(Soft::Full),
            NotSignedIn::Failed(error) => &error.failure,
        };
        verdict::of_sign_in(failed)
    }
}

/// Seconds a clock that shows `time` is ahead of ours.
fn ahead(time: f64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    time - now.as_secs_f64()
}

impl From<RequestError> for NotSignedIn {
    fn from(error: RequestError) -> Self {
        NotSignedIn::Transport(error)
    }
}

impl fmt::Display for NotSignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotSignedIn::Transport(error) => write!(f, "{error}"),
            NotSignedIn::Failed(error) => write!(f, "{error}"),
            NotSignedIn::Pending => f.write_str("our public key waits there for acceptance"),
            NotSignedIn::Rejected => f.write_str("it has rejected our public key"),
            NotSignedIn::Denied => f.write_str("it has another public key on record for our id"),
            NotSignedIn::Busy(after) => {
                write!(f, "it has too many sign-ins now; to be asked again in {after:?}")
            }
            NotSignedIn::Draining(_, None) => f.write_str("it is being emptied and takes nobody"),
            NotSignedIn::Draining(_, Some(to)) => {
                write!(f, "it is being emptied and takes nobody; it names {to} instead")
            }
            NotSignedIn::Full => f.write_str("it has as many minions as it wants"),
        }
    }
}
