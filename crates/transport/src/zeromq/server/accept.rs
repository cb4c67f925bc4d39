//! The listening socket of a server, and how fast it is accepted from.
//!
//! The system keeps a few thousand connections ready, and whoever comes beyond is not heard for
//! seconds. So a thread of its own takes them from there as they come, however busy the event loop
//! is; a task of the event loop lets them in one after the other.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep};

use super::lock;
use super::registry::{Bounds, Peer, Place, Registry};
use crate::net::{Keepalive, ListenOptions, listen};
use crate::zeromq::counters::{CloseReason, Tally};

/// Connections that were accepted and wait to be let in; more stay with the system.
const WAITING: usize = 8192;
/// How many are let in before others on the event loop have their turn.
const TURN: usize = 32;
/// How often it is looked again when open files ran short.
const SHORT_POLL: Duration = Duration::from_millis(2);
/// The thread does next to nothing.
const STACK: usize = 256 << 10;

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
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(crate) fn serve(self, create: Create<C>, serve: Serve<C>) -> io::Result<Acceptor<C>> {
        let Bound { listener, listen, address, registry } = self;
        let acceptor =
            Acceptor { listen, address, registry, create, serve, running: Mutex::default() };
        acceptor.start(listener)?;
        Ok(acceptor)
    }
}

/// Makes the shared part of a connection.
type Create<C> = fn(SocketAddr) -> C;
/// Starts the task of a connection.
type Serve<C> = Arc<dyn Fn(TcpStream, Place<C>) + Send + Sync>;

/// The thread that accepts and the task that lets in.
struct Running {
    task: JoinHandle<()>,
    /// Dropping it ends the thread.
    end: oneshot::Sender<()>,
    /// Says that the port is free.
    ended: oneshot::Receiver<()>,
}

/// What accepts; ended when dropped.
pub(crate) struct Acceptor<C: Peer> {
    listen: ListenOptions,
    address: SocketAddr,
    registry: Arc<Registry<C>>,
    create: Create<C>,
    serve: Serve<C>,
    running: Mutex<Option<Running>>,
}

impl<C: Peer> fmt::Debug for Acceptor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<C: Peer> Acceptor<C> {
    fn start(&self, listener: TcpListener) -> io::Result<()> {
        let (end, ends) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        let (hand_over, accepted) = mpsc::channel(WAITING);
        let listener = listener.into_std()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let registry = Arc::clone(&self.registry);
        let name = format!("accept-{}", self.address.port());
        thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ends => {}
                    () = accept(listener, &registry, hand_over) => {}
                }
            });
            // Nobody may wait for it.
            let _ = tell.send(());
        })?;
        let (registry, serve) = (Arc::clone(&self.registry), Arc::clone(&self.serve));
        let keepalive = self.listen.keepalive;
        let task = tokio::spawn(let_in(accepted, keepalive, registry, self.create, serve));
        *lock(&self.running) = Some(Running { task, end, ended });
        Ok(())
    }

    /// Where it listens, or listened.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it accepts.
    pub(crate) fn is_listening(&self) -> bool {
        lock(&self.running).is_some()
    }

    /// Ends it; then the port is free. Connections stay.
    pub(crate) async fn stop(&self) {
        let running = lock(&self.running).take();
        if let Some(Running { task, end, ended }) = running {
            drop(end);
            task.abort();
            // Both only say that they have ended.
            let _ = ended.await;
            let _ = task.await;
        }
    }

    /// Listens at the same address again after [`Acceptor::stop`]; nothing where it listens.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub(crate) fn resume(&self) -> io::Result<()> {
        if !self.is_listening() {
            self.start(listen(self.address, &self.listen)?)?;
        }
        Ok(())
    }
}

impl<C: Peer> Drop for Acceptor<C> {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.running).take() {
            running.task.abort();
        }
    }
}

type Accepted = (std::net::TcpStream, SocketAddr);

/// Accepts until nobody takes what was accepted.
async fn accept<C: Peer>(
    listener: std::net::TcpListener,
    registry: &Registry<C>,
    hand_over: mpsc::Sender<Accepted>,
) {
    let (tally, places) = (&registry.tally, &registry.bounds.places);
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tally.accept_failed(&error),
    };
    let mut pace = Pace::new(registry.bounds.rate, Instant::now());
    loop {
        if let Some(pause) = pace.pause(Instant::now()) {
            // Those who wait stand in the queue of the listening socket.
            tally.accepting_waits();
            sleep(pause).await;
        }
        // One is always looked at: it may be a subscription, for which others give way.
        while hand_over.capacity() < WAITING
            && places.used() + (WAITING - hand_over.capacity()) >= places.limit()
        {
            sleep(SHORT_POLL).await;
        }
        let accepted = listener.accept().await;
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok(accepted) => {
                if hand_over.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Mostly no file descriptors: without a pause this would spin.
                tally.accept_failed(&error);
                places.make_room(places.batch());
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Lets in those who were accepted, for ever.
async fn let_in<C: Peer>(
    mut accepted: mpsc::Receiver<Accepted>,
    keepalive: Keepalive,
    registry: Arc<Registry<C>>,
    create: Create<C>,
    serve: Serve<C>,
) {
    let mut turn = Vec::with_capacity(TURN);
    while accepted.recv_many(&mut turn, TURN).await > 0 {
        for (stream, peer) in turn.drain(..) {
            registry.tally.accepted.fetch_add(1, Ordering::Relaxed);
            registry.room().await;
            match registry.admit(peer, Arc::new(create(peer))) {
                Ok(place) => match TcpStream::from_std(stream) {
                    Ok(stream) => {
                        keepalive.apply(&stream);
                        serve(stream, place);
                    }
                    Err(error) => registry.tally.accept_failed(&error),
                },
                Err(why) => registry.tally.close(CloseReason::NoRoom, peer, &why),
            }
        }
        yield_now().await;
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
