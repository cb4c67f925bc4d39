//! The listening socket of a server, and how fast it is accepted from.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::lock;
use super::registry::{Bounds, Peer, Place, Registry};
use crate::net::{Keepalive, ListenOptions, listen};
use crate::zeromq::counters::{CloseReason, Tally};

/// A listening socket whose connections are not served yet, and the registry they go to.
pub(crate) struct Bound<C> {
    listener: TcpListener,
    listen: ListenOptions,
    pub(crate) address: SocketAddr,
    pub(crate) registry: Arc<Registry<C>>,
}

impl<C: Peer> Bound<C> {
    /// Listens on `address`; `what` names the server in the log.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(crate) fn new(
        address: SocketAddr,
        listen_options: &ListenOptions,
        what: &str,
        bounds: Bounds,
    ) -> io::Result<Self> {
        let listener = listen(address, listen_options)?;
        let address = listener.local_addr()?;
        let tally = Tally::new(format!("{what} on {address}"));
        let registry = Arc::new(Registry::new(tally, bounds));
        Ok(Bound { listener, listen: *listen_options, address, registry })
    }

    /// Starts to accept; every connection is served by a task of its own.
    pub(crate) fn serve(self, create: Create<C>, serve: Serve<C>) -> Acceptor<C> {
        let Bound { listener, listen, address, registry } = self;
        let acceptor =
            Acceptor { listen, address, registry, create, serve, task: Mutex::default() };
        acceptor.start(listener);
        acceptor
    }
}

/// Makes the shared part of a connection.
type Create<C> = fn(SocketAddr) -> C;
/// Starts the task of a connection.
type Serve<C> = Arc<dyn Fn(TcpStream, Place<C>) + Send + Sync>;

/// The task that accepts; ended when dropped.
pub(crate) struct Acceptor<C: Peer> {
    listen: ListenOptions,
    address: SocketAddr,
    registry: Arc<Registry<C>>,
    create: Create<C>,
    serve: Serve<C>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<C: Peer> fmt::Debug for Acceptor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<C: Peer> Acceptor<C> {
    fn start(&self, listener: TcpListener) {
        let (registry, serve) = (Arc::clone(&self.registry), Arc::clone(&self.serve));
        let keepalive = self.listen.keepalive;
        let task = tokio::spawn(accept(listener, keepalive, registry, self.create, serve));
        *lock(&self.task) = Some(task);
    }

    /// Where it listens, or listened.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it accepts.
    pub(crate) fn is_listening(&self) -> bool {
        lock(&self.task).is_some()
    }

    /// Ends it; then the port is free. Connections stay.
    pub(crate) async fn stop(&self) {
        let task = lock(&self.task).take();
        if let Some(task) = task {
            task.abort();
            // It says that it was aborted.
            let _ = task.await;
        }
    }

    /// Listens at the same address again after [`Acceptor::stop`]; nothing where it listens.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub(crate) fn resume(&self) -> io::Result<()> {
        if !self.is_listening() {
            self.start(listen(self.address, &self.listen)?);
        }
        Ok(())
    }
}

impl<C: Peer> Drop for Acceptor<C> {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

/// Accepts for ever.
async fn accept<C: Peer>(
    listener: TcpListener,
    keepalive: Keepalive,
    registry: Arc<Registry<C>>,
    create: Create<C>,
    serve: Serve<C>,
) {
    let mut pace = Pace::new(registry.bounds.rate, Instant::now());
    loop {
        if let Some(pause) = pace.pause(Instant::now()) {
            // Those who wait stand in the queue of the listening socket.
            registry.tally.accepting_waits();
            sleep(pause).await;
        }
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly no file descriptors: without a pause this would spin.
                registry.tally.accept_failed(&error);
                registry.bounds.places.make_room(registry.bounds.places.batch());
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        registry.tally.accepted.fetch_add(1, Ordering::Relaxed);
        registry.room().await;
        match registry.admit(peer, Arc::new(create(peer))) {
            Ok(place) => {
                keepalive.apply(&stream);
                serve(stream, place);
            }
            Err(why) => registry.tally.close(CloseReason::NoRoom, peer, &why),
        }
    }
}

/// How fast connections are accepted.
#[derive(Debug)]
struct Pace {
    per_second: f64,
    /// Connections that may be accepted at once.
    credit: f64,
    at: Instant,
}

impl Pace {
    fn new(per_second: u32, now: Instant) -> Pace {
        Pace { per_second: f64::from(per_second), credit: f64::from(per_second), at: now }
    }

    /// Counts one connection; how long to wait before it.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        if self.per_second == 0.0 {
            return None;
        }
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.credit = (self.credit + earned).min(self.per_second) - 1.0;
        self.at = now;
        (self.credit < 0.0).then(|| Duration::from_secs_f64(-self.credit / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        assert!((0..10).all(|_| pace.pause(start).is_none()));
        let pause = pace.pause(start).unwrap();
        assert_eq!(pause, Duration::from_millis(100));
        let later = start + Duration::from_secs(60);
        assert!((0..10).all(|_| pace.pause(later).is_none()));
        assert!(pace.pause(later).is_some());
        let mut free = Pace::new(0, start);
        assert!((0..1000).all(|_| free.pause(start).is_none()));
    }
}
