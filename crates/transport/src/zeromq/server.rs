//! What both servers share: accepting within limits, knowing the open connections, ending them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use saltern_zmtp::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::counters::{CloseReason, Tally};
use super::link::LinkError;
use super::places::{Places, Role};
use crate::net::{Keepalive, ListenOptions, listen};

/// Hundredths of a second after an answer in which a connection is not idle: a peer that asks one
/// thing after the other has its next request on the way.
const REST: u32 = 3;
/// How long a new connection for requests waits for a place, and how often it looks.
const ROOM_TIME: Duration = Duration::from_millis(1000);
const ROOM_POLL: Duration = Duration::from_millis(2);

/// Locks; a panic elsewhere does not take the server down with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a server wants of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    Running,
    /// End when nothing is under way.
    Draining,
    /// End now.
    Ended,
}

/// Number of a connection, never used twice by one server.
pub(crate) type Id = u64;

/// The part of a connection that its server sees.
pub(crate) trait Peer: Send + Sync + 'static {
    /// Makes it look at its server's stage.
    fn wake(&self);

    /// When it was used last, by [`Registry::now`], if it could be closed now without harm.
    fn idle_since(&self) -> Option<u32> {
        None
    }

    /// Asks it to end if nothing is under way. `false` when it was asked before.
    fn ask_to_leave(&self) -> bool {
        false
    }

    /// Whether it was asked to end and has not declined.
    fn is_leaving(&self) -> bool {
        false
    }
}

/// Bounds on the connections of a server.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) role: Role,
    pub(crate) max: usize,
    pub(crate) max_per_address: usize,
    /// Connections accepted in a second, and at once after a pause; 0 sets no bound.
    pub(crate) rate: u32,
    pub(crate) places: Arc<Places>,
}

/// The open connections of a server and what it wants of them.
#[derive(Debug)]
pub(crate) struct Registry<C> {
    pub(crate) tally: Tally,
    bounds: Bounds,
    started: Instant,
    stage: AtomicU8,
    connections: Mutex<HashMap<Id, Arc<C>>>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    open: AtomicUsize,
    /// Connections that were asked to end and are still there.
    leaving: AtomicUsize,
    /// When, by [`Registry::now`], fewer idle connections were found than were looked for.
    barren: AtomicU32,
    next: AtomicU64,
    all_gone: Notify,
}

impl<C: Peer> Registry<C> {
    pub(crate) fn new(tally: Tally, bounds: Bounds) -> Registry<C> {
        Registry {
            tally,
            bounds,
            started: Instant::now(),
            stage: AtomicU8::new(Stage::Running as u8),
            connections: Mutex::default(),
            addresses: Mutex::default(),
            open: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
            barren: AtomicU32::new(u32::MAX),
            next: AtomicU64::new(0),
            all_gone: Notify::new(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Draining,
            _ => Stage::Ended,
        }
    }

    fn set_stage(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.each(|connection| connection.wake());
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn each(&self, mut f: impl FnMut(&Arc<C>)) {
        for connection in lock(&self.connections).values() {
            f(connection);
        }
    }

    /// Takes a place for a connection, if there is one.
    fn admit(self: &Arc<Self>, peer: SocketAddr, connection: Arc<C>) -> Result<Place<C>, String> {
        let Bounds { role, max_per_address, .. } = self.bounds;
        let places = &self.bounds.places;
        let max = self.max();
        let batch = places.batch().min((max / 64).max(1));
        let mut addresses = lock(&self.addresses);
        let here = addresses.get(&peer.ip()).copied().unwrap_or(0);
        if max_per_address > 0 && here >= max_per_address {
            return Err(format!("there are {max_per_address} connections from its address"));
        }
        if role == Role::Passing && self.staying() + batch >= max {
            self.make_room(batch);
        }
        let open = self.open();
        // Those who were asked to leave are gone in a moment.
        if self.staying() >= max || open >= max.saturating_add(batch) {
            return Err(format!("there are {open} connections, of {max} at most"));
        }
        addresses.insert(peer.ip(), here + 1);
        drop(addresses);
        self.open.fetch_add(1, Ordering::Relaxed);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.connections).insert(id, connection.clone());
        places.enter(role);
        Ok(Place { registry: self.clone(), connection, peer, id })
    }

    /// Waits a moment for a place for requests: those who were asked to leave, and those whose
    /// request is in hand, are gone soon, and others who come wait in the queue of the listening
    /// socket meanwhile.
    async fn room(&self) {
        let until = Instant::now() + ROOM_TIME;
        while self.bounds.role == Role::Passing
            && self.open() >= self.max()
            && Instant::now() < until
        {
            if self.leaving.load(Ordering::Relaxed) == 0 {
                self.make_room(1);
            }
            sleep(ROOM_POLL).await;
        }
    }

    /// Connections that there may be now.
    fn max(&self) -> usize {
        self.bounds.max.min(self.bounds.places.allowed(self.bounds.role))
    }

    /// Connections that were not asked to leave.
    fn staying(&self) -> usize {
        self.open().saturating_sub(self.leaving.load(Ordering::Relaxed))
    }

    /// The present time on the clock of this server: hundredths of a second since it was made.
    pub(crate) fn now(&self) -> u32 {
        let now = self.started.elapsed().as_millis() / 10;
        u32::try_from(now).unwrap_or(u32::MAX).min(u32::MAX - 1)
    }

    /// Asks some of the idle connections to end. Which ones is left to chance: minions that all
    /// ask in turn, a few more of them than there are places, would each find their connection
    /// gone if it was always the one idle longest.
    pub(crate) fn make_room(&self, number: usize) {
        let now = self.now();
        let rested = now.saturating_sub(REST);
        // Nobody was idle a moment ago: looking again would find the same.
        if self.barren.load(Ordering::Relaxed) == now {
            return;
        }
        let mut idle = Vec::new();
        let mut seen = 0;
        self.each(|connection| {
            if connection.idle_since().is_none_or(|since| since > rested) {
                return;
            }
            // Each of those seen so far stays with the same chance.
            if idle.len() < number {
                idle.push(Arc::clone(connection));
            } else if let Some(place) = idle.get_mut(fastrand::usize(..=seen)) {
                *place = Arc::clone(connection);
            }
            seen += 1;
        });
        if idle.len() < number {
            self.barren.store(now, Ordering::Relaxed);
        }
        for connection in idle {
            if connection.ask_to_leave() {
                self.leaving.fetch_add(1, Ordering::Relaxed);
                connection.wake();
            }
        }
    }

    /// A connection that was asked to leave stays.
    pub(crate) fn stays(&self) {
        self.leaving.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tells every connection to end when nothing is under way.
    pub(crate) fn drain(&self) {
        self.set_stage(Stage::Draining);
    }

    /// Ends every connection: idle ones at once, busy ones when done or after `grace`.
    pub(crate) async fn close(&self, grace: Duration) {
        self.drain();
        let deadline = Instant::now() + grace;
        while self.open() > 0 {
            if timeout_at(deadline, self.all_gone.notified()).await.is_err() {
                break;
            }
        }
        self.set_stage(Stage::Ended);
    }

    /// Ends every connection now.
    pub(crate) fn end(&self) {
        self.set_stage(Stage::Ended);
    }
}

/// A connection's place in the registry; dropping it gives the place back.
pub(crate) struct Place<C: Peer> {
    registry: Arc<Registry<C>>,
    pub(crate) connection: Arc<C>,
    pub(crate) peer: SocketAddr,
    pub(crate) id: Id,
}

impl<C: Peer> Drop for Place<C> {
    fn drop(&mut self) {
        {
            let mut connections = lock(&self.registry.connections);
            connections.remove(&self.id);
            // A crowd that has left leaves no memory behind.
            if connections.capacity() > 1024 && connections.len() * 4 < connections.capacity() {
                connections.shrink_to_fit();
            }
        }
        if self.connection.is_leaving() {
            self.registry.stays();
        }
        self.registry.bounds.places.leave(self.registry.bounds.role);
        let mut addresses = lock(&self.registry.addresses);
        if let Some(here) = addresses.get_mut(&self.peer.ip()) {
            *here -= 1;
            if *here == 0 {
                addresses.remove(&self.peer.ip());
            }
        }
        if self.registry.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.registry.all_gone.notify_one();
        }
    }
}

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

/// Why a connection ended, and in which words.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) CloseReason, pub(crate) String);

impl From<CloseReason> for Ended {
    fn from(reason: CloseReason) -> Self {
        Ended(reason, String::new())
    }
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed => CloseReason::Peer.into(),
            LinkError::Io(error) => Ended(CloseReason::Io, error.to_string()),
            LinkError::Protocol(error) => {
                let reason = match &error {
                    Error::TooLong(_) => CloseReason::TooLong,
                    Error::WrongType(_) => CloseReason::WrongType,
                    Error::Refused(_) => CloseReason::Peer,
                    Error::NotZmtp
                    | Error::OldVersion(_)
                    | Error::Mechanism
                    | Error::Malformed(_) => CloseReason::Garbage,
                };
                Ended(reason, error.to_string())
            }
        }
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
