//! The master: accepts minions, answers them, publishes jobs to them and keeps what they return.
//! Everything that comes from the network is proved by `saltern-wire` before it gets to a handler.

mod at_once;
mod authz;
mod context;
mod counters;
mod dispatch;
mod drain;
mod error;
mod handlers;
mod herd;
mod jobs;
mod keys;
mod losses;
mod open_files;
mod presence;
mod publish;
mod readiness;
mod runners;
mod running;
mod settings;
mod start;
mod targets;
mod tasks;
mod wheel;
mod when;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use saltern_config::{Loaded, MasterOptions};
use saltern_event::Bus;
use saltern_transport::zeromq::{Publisher, Router};
use tokio::task::JoinSet;

pub use counters::{Counters, Refusal};
pub use error::StartError;

use context::Shared;
use settings::Marker;

/// Time for answers and publications under way to leave when a master ends. With the rest of the
/// shutdown it stays below the two seconds a SIGTERM may take.
const GRACE: Duration = Duration::from_millis(500);

/// A master, to be started.
#[derive(Debug)]
pub struct Master(());

/// A running master. Dropping it ends the master at once; [`MasterHandle::shutdown`] ends it
/// properly.
pub struct MasterHandle {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    router: Arc<Router>,
    publisher: Arc<Publisher>,
    markers: Vec<Marker>,
}

impl Master {
    /// Starts a master with these options, on the current tokio runtime (multi-threaded). When
    /// this returns, it serves.
    ///
    /// # Errors
    /// [`StartError`]: one sentence for the log; nothing is left running.
    pub fn start(loaded: Loaded<MasterOptions>) -> Result<MasterHandle, StartError> {
        let start::Parts { shared, router, publisher, markers } = start::parts(loaded)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(drain::run(Arc::clone(&shared)));
        tasks.spawn(dispatch::serve(Arc::clone(&shared), Arc::clone(&router)));
        tasks.spawn(tasks::run(Arc::clone(&shared)));
        log::info!("Salt Master {} is ready for minions", shared.opts.id);
        Ok(MasterHandle { tasks, shared, router, publisher, markers })
    }
}

impl MasterHandle {
    /// Where requests are served (the real port when 0 was configured).
    #[must_use]
    pub fn request_address(&self) -> SocketAddr {
        self.router.local_addr()
    }

    /// Where minions subscribe (the real port when 0 was configured).
    #[must_use]
    pub fn publish_address(&self) -> SocketAddr {
        self.publisher.local_addr()
    }

    /// What was refused so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The event bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.shared.bus
    }

    /// Waits until the master ends by itself, which it does only after a fault. Cancellation-safe.
    pub async fn wait(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            log::error!("A part of the master has failed: {error}");
        }
    }

    /// Ends the master: no new requests, a short time for those under way, everything kept.
    pub async fn shutdown(mut self) {
        log::info!("The Salt Master is shutting down");
        // Tools shall not find a master that is about to go.
        self.markers.clear();
        self.shared.herd.close();
        self.shared.running.stop().await;
        tokio::join!(self.router.close(GRACE), self.publisher.close(GRACE));
        self.tasks.shutdown().await;
        let shared = Arc::clone(&self.shared);
        let closed = tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.readiness.flush() {
                log::error!("Failover reports not written: {error}");
            }
            shared.jobs.store().close()
        })
        .await;
        if closed.is_err() {
            log::error!("The job cache was not closed properly");
        }
        log::info!("The Salt Master is shut down");
    }
}
