//! The bus: takes events from inside the process and from its pull socket, and hands each to every
//! subscriber, inside and on the publish socket.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use saltern_value::Map;
use tokio::sync::Notify;

use crate::server::{Outlet, Servers};
use crate::{BusPaths, Event, Framing, event, frame};

const LOG_EVERY: Duration = Duration::from_secs(60);

/// Bounds and settings of a [`Bus`].
#[derive(Clone, Debug)]
pub struct BusOptions {
    /// File mode of the publish socket: 0600, or 0660 when users other than the master's may read
    /// events (`publisher_acl`, `external_auth`).
    pub publish_mode: u32,
    /// Bytes of one event's data (`max_event_size`); longer ones have values trimmed on the socket.
    pub max_event_size: usize,
    /// Events waiting for one subscriber; then it misses events, which is counted and logged.
    pub queue: usize,
    /// Bytes waiting for one subscriber on the socket.
    pub queue_bytes: usize,
    /// Connections at a time, over both sockets.
    pub max_connections: usize,
}

impl Default for BusOptions {
    fn default() -> Self {
        BusOptions {
            publish_mode: 0o600,
            max_event_size: 1 << 20,
            // A job of the largest fleets answers in one burst.
            queue: 100_000,
            queue_bytes: 64 << 20,
            max_connections: 4096,
        }
    }
}

/// The bus of a master or a minion. Clones share it. When the last clone is dropped its tasks end
/// and its socket files are removed.
#[derive(Clone, Debug)]
pub struct Bus {
    owner: Arc<Owner>,
}

/// Ends the bus with its last clone; the tasks hold the hub only.
#[derive(Debug)]
struct Owner {
    hub: Arc<Hub>,
    servers: Option<Servers>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.servers.take());
        self.hub.end();
    }
}

impl Bus {
    /// A bus with its two sockets (pull: mode 0600). Socket files left by a dead process are
    /// replaced; the directory must exist. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When a path is too long for a socket (over 107 bytes), a living process holds it, or the
    /// system refuses it.
    pub fn bind(paths: &BusPaths, options: BusOptions) -> io::Result<Bus> {
        let hub = Arc::new(Hub::new(options));
        let servers = Servers::start(paths, &hub)?;
        Ok(Bus { owner: Arc::new(Owner { hub, servers: Some(servers) }) })
    }

    /// A bus inside the process only.
    #[must_use]
    pub fn local(options: BusOptions) -> Bus {
        Bus { owner: Arc::new(Owner { hub: Arc::new(Hub::new(options)), servers: None }) }
    }

    /// Fires an event: `_stamp` is set to now. Never blocks.
    pub fn fire(&self, tag: impl Into<String>, data: Map) {
        let event = Event::new(tag, data, SystemTime::now());
        self.owner.hub.spread(event, None);
    }

    /// Every event whose tag starts with `prefix`, from now on.
    #[must_use]
    pub fn subscribe(&self, prefix: &str) -> Subscription {
        self.owner.hub.subscribe(prefix, false)
    }

    /// The events that other processes push into the pull socket, from now on. They are handed to
    /// all subscribers too.
    #[must_use]
    pub fn pushed(&self) -> Subscription {
        self.owner.hub.subscribe("", true)
    }

    /// Events that a full queue had no room for, over all subscribers.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.owner.hub.dropped.load(Ordering::Relaxed)
    }

    /// Programs and pushed events that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.owner.hub.refused.load(Ordering::Relaxed)
    }

    /// Events of which other processes got a part, because they were longer than `max_event_size`.
    #[must_use]
    pub fn trimmed(&self) -> u64 {
        self.owner.hub.trimmed.load(Ordering::Relaxed)
    }

    /// Events and bytes that wait for the slowest of the processes that read the publish socket.
    #[must_use]
    pub fn longest_queue(&self) -> (usize, usize) {
        let outlets = lock(&self.owner.hub.outlets);
        outlets
            .values()
            .map(|outlet| outlet.waiting())
            .max_by_key(|(_, bytes)| *bytes)
            .unwrap_or_default()
    }

    /// Processes that read the publish socket now.
    #[must_use]
    pub fn readers(&self) -> usize {
        lock(&self.owner.hub.outlets).len()
    }
}

/// Locks; a panic elsewhere does not take the bus down with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who gets the events.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) options: BusOptions,
    inside: Mutex<Vec<Arc<Inside>>>,
    pub(crate) outlets: Mutex<HashMap<u64, Arc<Outlet>>>,
    next_outlet: AtomicU64,
    pub(crate) connections: AtomicUsize,
    dropped: AtomicU64,
    refused: AtomicU64,
    trimmed: AtomicU64,
    last_log: Mutex<Option<Instant>>,
}

impl Hub {
    fn new(options: BusOptions) -> Hub {
        Hub {
            options,
            inside: Mutex::default(),
            outlets: Mutex::default(),
            next_outlet: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            trimmed: AtomicU64::new(0),
            last_log: Mutex::default(),
        }
    }

    /// Hands an event to everybody. It is packed once, and only if a process reads the socket.
    /// `pushed` is its packed form if it came from another process.
    fn spread(&self, event: Event, pushed: Option<&[u8]>) {
        let mut missed = 0;
        if !lock(&self.outlets).is_empty() {
            let max = self.options.max_event_size;
            let framed: Arc<[u8]> = match pushed {
                Some(packed) if packed.len() <= max => frame(packed, Framing::Bare),
                _ => {
                    let (framed, whole) = event::frame_trimmed(&event, max);
                    self.trimmed.fetch_add(u64::from(!whole), Ordering::Relaxed);
                    framed
                }
            }
            .into();
            for outlet in lock(&self.outlets).values() {
                missed += u64::from(!outlet.offer(&framed, &self.options));
            }
        }
        let wants = |inside: &&Arc<Inside>| {
            (pushed.is_some() || !inside.pushed_only)
                && event.tag.starts_with(inside.prefix.as_str())
        };
        let takers: Vec<Arc<Inside>> = lock(&self.inside).iter().filter(wants).cloned().collect();
        if !takers.is_empty() {
            let event = Arc::new(event);
            for inside in takers {
                missed += u64::from(!inside.offer(&event, self.options.queue));
            }
        }
        if missed > 0 {
            self.report(missed);
        }
    }

    fn report(&self, missed: u64) {
        let total = self.dropped.fetch_add(missed, Ordering::Relaxed) + missed;
        let mut last = lock(&self.last_log);
        let now = Instant::now();
        if last.is_none_or(|last| now.duration_since(last) >= LOG_EVERY) {
            *last = Some(now);
            log::warn!("event bus: a subscriber is too slow and misses events ({total} so far)");
        }
    }

    /// Counts a program or an event that is not let in.
    pub(crate) fn refuse(&self, why: &str) {
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        log::warn!("event bus: refused a process on the local socket: {why} ({count} so far)");
    }

    pub(crate) fn add_outlet(&self) -> (u64, Arc<Outlet>) {
        let id = self.next_outlet.fetch_add(1, Ordering::Relaxed);
        let outlet = Arc::new(Outlet::default());
        lock(&self.outlets).insert(id, outlet.clone());
        (id, outlet)
    }

    fn subscribe(self: &Arc<Self>, prefix: &str, pushed_only: bool) -> Subscription {
        let inside = Arc::new(Inside {
            prefix: prefix.to_owned(),
            pushed_only,
            queue: Mutex::default(),
            arrived: Notify::new(),
            missed: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        lock(&self.inside).push(inside.clone());
        Subscription { inside, hub: Arc::downgrade(self) }
    }

    fn end(&self) {
        for inside in lock(&self.inside).drain(..) {
            inside.ended.store(true, Ordering::Release);
            inside.arrived.notify_one();
        }
        lock(&self.outlets).clear();
    }
}

/// A subscriber inside the process.
#[derive(Debug)]
struct Inside {
    prefix: String,
    pushed_only: bool,
    queue: Mutex<VecDeque<Arc<Event>>>,
    arrived: Notify,
    missed: AtomicU64,
    ended: AtomicBool,
}

impl Inside {
    fn offer(&self, event: &Arc<Event>, max: usize) -> bool {
        let mut queue = lock(&self.queue);
        let fits = queue.len() < max.max(1);
        if fits {
            queue.push_back(event.clone());
        } else {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        drop(queue);
        self.arrived.notify_one();
        fits
    }
}

/// Events for one subscriber inside the process; dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    inside: Arc<Inside>,
    hub: Weak<Hub>,
}

impl Subscription {
    /// The next event; `None` when the bus is gone. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            // Looked at before the queue: what came before the end is still handed on.
            let ended = self.inside.ended.load(Ordering::Acquire);
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if ended {
                return None;
            }
            self.inside.arrived.notified().await;
        }
    }

    /// The next event that is already there.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        lock(&self.inside.queue).pop_front()
    }

    /// Events this subscriber missed because its queue was full.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inside.missed.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            lock(&hub.inside).retain(|inside| !Arc::ptr_eq(inside, &self.inside));
        }
    }
}

/// Takes what a process pushed: an event of its own making, stamped by it.
pub(crate) fn take_pushed(hub: &Hub, packed: &[u8]) {
    match event::unpack(packed) {
        Ok(event) => hub.spread(event, Some(packed)),
        Err(error) => hub.refuse(&format!("pushed bytes that are no event: {error}")),
    }
}
