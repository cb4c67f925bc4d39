//! The open connections of a server: who gets a place, who gives way, how all of them end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::lock;
use crate::zeromq::counters::Tally;
use crate::zeromq::places::{Places, Role};

/// Hundredths of a second after an answer in which a connection is not idle: a peer that asks one
/// thing after the other has its next request on the way.
const REST: u32 = 3;
/// How long a new connection for requests waits for a place, and how often it looks.
const ROOM_TIME: Duration = Duration::from_millis(1000);
const ROOM_POLL: Duration = Duration::from_millis(2);

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
    pub(super) bounds: Bounds,
    started: Instant,
    stage: AtomicU8,
    connections: Mutex<HashMap<Id, Arc<C>>>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    open: AtomicUsize,
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
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: SocketAddr,
        connection: Arc<C>,
    ) -> Result<Place<C>, String> {
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
    pub(super) async fn room(&self) {
        let until = Instant::now() + ROOM_TIME;
        while self.bounds.role == Role::Passing
            && self.open() >= self.max()
            && Instant::now() < until
        {
            if self.bounds.places.leaving() == 0 {
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
        self.open().saturating_sub(self.bounds.places.leaving())
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
                self.bounds.places.asked();
                connection.wake();
            }
        }
    }

    /// A connection that was asked to leave stays.
    pub(crate) fn stays(&self) {
        self.bounds.places.answered();
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
