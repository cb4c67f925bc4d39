//! What every part of a running master shares: its options, keys, stores, bus and way out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use saltern_base::MinionId;
use saltern_config::MasterOptions;
use saltern_event::Bus;
use saltern_fileserver::{FileServer, Receiver};
use saltern_pillar::{Compiler, DiskFiles};
use saltern_store::cache::DataCache;
use saltern_store::pki::{AcceptedKey, Pki};
use saltern_store::requests::SeenRequests;
use saltern_store::sessions::Sessions;
use saltern_transport::zeromq::{Places, Publisher, Router};
use saltern_value::Map;
use saltern_wire::command::RootKeys;
use saltern_wire::session::ReplayGuard;
use saltern_wire::session::server::AcceptedMinion;
use tokio::sync::{Notify, Semaphore};

use crate::counters::Counters;
use crate::drain::Drain;
use crate::handlers::peer::PeerJobs;
use crate::herd::Herd;
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::keys::autosign::Autosign;
use crate::losses::Losses;
use crate::presence::Presence;
use crate::publish::Outlet;
use crate::readiness::Readiness;
use crate::running::Running;
use crate::targets::Targets;

/// The sockets of a master, for those who look at their counts.
pub(crate) struct Net {
    /// Requests.
    pub(crate) router: Arc<Router>,
    /// Publications.
    pub(crate) publisher: Arc<Publisher>,
    /// The open files both share.
    pub(crate) places: Arc<Places>,
}

/// The parts of one master.
pub(crate) struct Shared {
    /// The options, typed.
    pub(crate) opts: MasterOptions,
    /// Every option, as `config.get` shows it.
    pub(crate) raw_opts: Map,
    /// What was refused.
    pub(crate) counters: Counters,
    /// What minions lost.
    pub(crate) losses: Losses,
    /// The event bus.
    pub(crate) bus: Bus,
    /// The minions' keys.
    pub(crate) pki: Arc<Pki>,
    /// The minions' session keys.
    pub(crate) sessions: Sessions,
    /// Grains, pillar and mine of the minions.
    pub(crate) cache: Arc<DataCache>,
    /// The jobs.
    pub(crate) jobs: Jobs,
    /// The file server.
    pub(crate) files: FileServer,
    /// How many pieces of files may be read and sealed at a time.
    pub(crate) pieces: Semaphore,
    /// Takes pushed files.
    pub(crate) receiver: Receiver,
    /// Compiles pillars.
    pub(crate) pillar: Compiler<DiskFiles>,
    /// Resolves targets.
    pub(crate) targets: Targets,
    /// Who is connected.
    pub(crate) presence: Presence,
    /// What minions say of the masters they could go to.
    pub(crate) readiness: Readiness,
    /// The way to the minions.
    pub(crate) outlet: Outlet,
    /// The master's own keys.
    pub(crate) keys: Keys,
    /// Proves the tools of this host.
    pub(crate) root_keys: RootKeys,
    /// Who is accepted without a human.
    pub(crate) autosign: Autosign,
    /// Runners at work.
    pub(crate) running: Running,
    /// Requests seen before.
    /// What was served, in memory and for the next run.
    pub(crate) replay: Mutex<(ReplayGuard, SeenRequests)>,
    /// The sign-ins that wait.
    pub(crate) herd: Arc<Herd>,
    /// Whether this master is to be empty.
    pub(crate) drain: Drain,
    /// One sign-in changes the keys of an id at a time; ids share these locks by their hash, so
    /// that others need not wait for the disk as well.
    pub(crate) sign_in: [Mutex<()>; 32],
    /// Wakes the task that replaces the AES key.
    pub(crate) rotate: Notify,
    /// Jobs that minions published.
    pub(crate) peer_jobs: Mutex<PeerJobs>,
    /// Bounds what computes at a time.
    pub(crate) cores: Arc<Semaphore>,
    /// The port minions subscribe at.
    pub(crate) publish_port: u16,
    /// The sockets.
    pub(crate) net: Net,
    /// Minions with their proved tokens.
    pub(crate) minions: Mutex<HashMap<MinionId, Arc<AcceptedMinion>>>,
}

impl Shared {
    /// Fires an event on the bus.
    pub(crate) fn fire(&self, tag: &str, data: Map) {
        self.bus.fire(tag, data);
    }

    /// Runs what computes (RSA, unpacking) or touches the disk on a blocking thread; no more at a
    /// time than the machine has cores, so a flood of sign-ins cannot take all threads.
    ///
    /// # Errors
    /// When the work panicked, or the master is ending.
    pub(crate) async fn compute<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, String> {
        let ended = |_| "it ended without a result".to_owned();
        let permit = Arc::clone(&self.cores)
            .acquire_owned()
            .await
            .map_err(|_| "the master is ending".to_owned())?;
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&shared)
        })
        .await
        .map_err(ended)
    }

    /// The minion of an accepted key, with the token it has proved if it is the same key as before.
    pub(crate) fn minion(&self, accepted: &AcceptedKey) -> Arc<AcceptedMinion> {
        let mut minions = lock(&self.minions);
        if let Some(known) = minions.get(accepted.id())
            && known.key() == accepted.public()
        {
            return Arc::clone(known);
        }
        let minion =
            Arc::new(AcceptedMinion::new(accepted.id().clone(), accepted.public().clone()));
        minions.insert(accepted.id().clone(), Arc::clone(&minion));
        minion
    }

    /// Forgets what is remembered about a minion whose key is gone, and removes its session key.
    pub(crate) fn forget_session(&self, id: &MinionId) {
        lock(&self.minions).remove(id);
        self.presence.forget(id);
        self.readiness.forget(id);
        self.drain.forget(id);
        if let Err(error) = self.sessions.remove(id) {
            log::error!("Session of {id} not removed: {error}");
        }
    }

    /// A key was deleted or rejected: whoever held it still has the AES key of publications, so a
    /// new one is made at once (`rotate_aes_key`).
    pub(crate) fn keys_withdrawn(&self) {
        if self.opts.rotate_aes_key {
            self.rotate.notify_one();
        }
    }
}

/// Locks; a panic elsewhere does not make what is behind the lock unusable here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
