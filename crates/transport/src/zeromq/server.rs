//! What both servers share: accepting within limits, knowing the open connections, ending them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use saltern_zmtp::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::counters::{CloseReason, Tally};
use super::link::LinkError;
use crate::net::{Keepalive, ListenOptions, listen};

/// Descriptors kept back for files, the store, programs.
const FILES_OF_OUR_OWN: usize = 128;

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

/// Connections the limit on open files leaves to one server. A master has two, and needs some
/// files for itself: without this, whoever opens connections could keep it from its own store.
fn descriptors_for_peers() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (limit.saturating_sub(FILES_OF_OUR_OWN) / 2).max(1)
}

/// A connection that can be told to look at its server's stage.
pub(crate) trait Wake: Send + Sync + 'static {
    fn wake(&self);
}

/// The open connections of a server and what it wants of them.
#[derive(Debug)]
pub(crate) struct Registry<C> {
    pub(crate) tally: Tally,
    max: usize,
    max_per_address: usize,
    stage: AtomicU8,
    connections: Mutex<HashMap<u64, Arc<C>>>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    open: AtomicUsize,
    next: AtomicU64,
    all_gone: Notify,
}

impl<C: Wake> Registry<C> {
    pub(crate) fn new(tally: Tally, max: usize, max_per_address: usize) -> Registry<C> {
        Registry {
            tally,
            max: max.min(descriptors_for_peers()),
            max_per_address,
            stage: AtomicU8::new(Stage::Running as u8),
            connections: Mutex::default(),
            addresses: Mutex::default(),
            open: AtomicUsize::new(0),
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
    fn admit(self: &Arc<Self>, peer: SocketAddr, connection: Arc<C>) -> Option<Place<C>> {
        let mut addresses = lock(&self.addresses);
        let here = addresses.entry(peer.ip()).or_insert(0);
        let refused =
            self.open() >= self.max || (self.max_per_address > 0 && *here >= self.max_per_address);
        if refused {
            if *here == 0 {
                addresses.remove(&peer.ip());
            }
            return None;
        }
        *here += 1;
        drop(addresses);
        self.open.fetch_add(1, Ordering::Relaxed);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.connections).insert(id, connection.clone());
        Some(Place { registry: self.clone(), connection, peer, id })
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

    /// Says that there is no room for a connection.
    fn full(&self) -> String {
        format!("there are {} connections, of {} at most", self.open(), self.max)
    }

    /// Ends every connection now.
    pub(crate) fn end(&self) {
        self.set_stage(Stage::Ended);
    }
}

/// A connection's place in the registry; dropping it gives the place back.
pub(crate) struct Place<C: Wake> {
    registry: Arc<Registry<C>>,
    pub(crate) connection: Arc<C>,
    pub(crate) peer: SocketAddr,
    id: u64,
}

impl<C: Wake> Drop for Place<C> {
    fn drop(&mut self) {
        lock(&self.registry.connections).remove(&self.id);
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

impl<C: Wake> Bound<C> {
    /// Listens on `address`; `what` names the server in the log.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(crate) fn new(
        address: SocketAddr,
        listen_options: &ListenOptions,
        what: &str,
        max_connections: usize,
        max_per_address: usize,
    ) -> io::Result<Self> {
        let listener = listen(address, listen_options)?;
        let address = listener.local_addr()?;
        let tally = Tally::new(format!("{what} on {address}"));
        let registry = Arc::new(Registry::new(tally, max_connections, max_per_address));
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
pub(crate) struct Acceptor<C: Wake> {
    listen: ListenOptions,
    address: SocketAddr,
    registry: Arc<Registry<C>>,
    create: Create<C>,
    serve: Serve<C>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<C: Wake> fmt::Debug for Acceptor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<C: Wake> Acceptor<C> {
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

impl<C: Wake> Drop for Acceptor<C> {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

/// Accepts for ever.
async fn accept<C: Wake>(
    listener: TcpListener,
    keepalive: Keepalive,
    registry: Arc<Registry<C>>,
    create: Create<C>,
    serve: Serve<C>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly no file descriptors: without a pause this would spin.
                registry.tally.accept_failed(&error);
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        registry.tally.accepted.fetch_add(1, Ordering::Relaxed);
        match registry.admit(peer, Arc::new(create(peer))) {
            Some(place) => {
                keepalive.apply(&stream);
                serve(stream, place);
            }
            None => registry.tally.close(CloseReason::NoRoom, peer, &registry.full()),
        }
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
