//! What jobs have returned, on its way to a master: written to disk first, sent, and removed when a
//! master has acknowledged it.

mod call;
mod disk;
mod dropped;
mod flight;
mod item;
mod record;
mod send;
mod store;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub(crate) use call::deliver_alone;
pub(crate) use item::Item;
pub(crate) use send::run;
use store::{Opened, Store};

/// Fired on the minion's bus by a `salt-call` that could not deliver its return.
pub(crate) const LEFT: &str = "salt/minion/spool/left";

/// The way of all returns out of this minion: what comes in, and what others see of it.
#[derive(Debug)]
pub(crate) struct Returns {
    pub(crate) store: Store,
    inbox: Mutex<Inbox>,
    /// What a former run has left, until the sender takes it over.
    opened: Mutex<Opened>,
    /// Wakes the sender.
    changed: Notify,
    /// Items that the sender holds, and those among them that are not on disk yet.
    held: AtomicUsize,
    unwritten: AtomicUsize,
    /// Those that were given up, since the start.
    lost: AtomicUsize,
    /// Some were, and that is not written down yet.
    unnoted: AtomicBool,
    most: usize,
}

#[derive(Debug, Default)]
struct Inbox {
    items: VecDeque<Item>,
    /// Masters to which a way has come about.
    released: Vec<usize>,
    /// `salt-call` has left something.
    left: bool,
    /// What came in while the disk stood still, and had no room.
    dropped: Vec<Dropped>,
}

/// What is left of an item that had to go before it was written down.
#[derive(Debug)]
struct Dropped {
    what: String,
    bytes: u64,
    closes: Option<u64>,
}

/// So many may always wait to be written down, however few may wait for a master.
const INBOX_LEAST: usize = 100;

impl Returns {
    /// Reads what a former run has left. `most` items at a time wait to be written down.
    pub(crate) fn open(cachedir: &Path, most: usize) -> Self {
        let store = Store::new(cachedir);
        // Before any job can begin, or it would count as one of the former run.
        let opened = Mutex::new(store.open());
        Returns {
            store,
            opened,
            inbox: Mutex::default(),
            changed: Notify::new(),
            held: AtomicUsize::new(0),
            unwritten: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            unnoted: AtomicBool::new(false),
            most: most.max(INBOX_LEAST),
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands something over for delivery. Never blocks.
    pub(crate) fn push(&self, item: Item) {
        {
            let mut inbox = self.inbox();
            inbox.items.push_back(item);
            // Only while the disk stands still.
            if inbox.items.len() > self.most
                && let Some(oldest) = inbox.items.pop_front()
            {
                let (what, bytes) = (oldest.what(), oldest.weight());
                inbox.dropped.push(Dropped { what, bytes, closes: oldest.closes });
                self.note_lost(1);
            }
        }
        self.changed.notify_one();
    }

    /// A way to this master has come about.
    pub(crate) fn released(&self, master: usize) {
        self.inbox().released.push(master);
        self.changed.notify_one();
    }

    /// A `salt-call` could not deliver its return.
    pub(crate) fn left(&self) {
        self.inbox().left = true;
        self.changed.notify_one();
    }

    /// A job begins; the number closes its entry, see [`Item::closes`].
    pub(crate) fn begun(&self, origin: Option<&str>, job: &saltern_value::Map) -> Option<u64> {
        let number = self.store.begun(origin, job);
        self.changed.notify_one();
        number
    }

    /// How many no master has acknowledged yet.
    pub(crate) fn depth(&self) -> usize {
        self.inbox().items.len() + self.held.load(Ordering::Relaxed)
    }

    /// Items are given up: no master will get them.
    fn note_lost(&self, count: usize) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        self.unnoted.store(true, Ordering::Relaxed);
    }

    /// That items were given up is written down, as far as it can be.
    fn debt_noted(&self) {
        // Under this lock, as what is dropped there: see `push`.
        let inbox = self.inbox();
        if inbox.dropped.is_empty() {
            self.unnoted.store(false, Ordering::Relaxed);
        }
    }

    /// How many were given up since the start.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether everything is on disk, as far as it can be.
    pub(crate) fn is_written(&self) -> bool {
        self.inbox().items.is_empty()
            && self.unwritten.load(Ordering::Relaxed) == 0
            && !self.unnoted.load(Ordering::Relaxed)
    }
}
