//! The bounded queue in front of the writer thread. Full means: [`Wait::No`] callers are refused
//! at once, [`Wait::Yes`] callers are held until there is room.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::work::Op;
use crate::StoreError;

/// What to do when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Hold the caller.
    Yes,
    /// Refuse.
    No,
}

/// Most operations that share one commit, and most bytes of them (one operation is always taken):
/// the log on disk and the memory of the database stay small.
const MAX_BATCH: usize = 1000;
const MAX_BATCH_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    room: Condvar,
    max_items: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    ops: VecDeque<Op>,
    bytes: usize,
    /// Someone waits for an operation in the queue: no lingering.
    urgent: bool,
    /// A batch is out with the writer.
    in_flight: bool,
    writer: Writer,
    closed: bool,
}

/// What the writer does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writer {
    /// It writes a batch and will look by itself.
    #[default]
    Writes,
    /// It waits for the first operation.
    Idle,
    /// It has operations and gives others a while to join them.
    Lingers,
}

impl Queue {
    pub(super) fn new(max_items: usize, max_bytes: usize) -> Self {
        Queue {
            state: Mutex::default(),
            ready: Condvar::new(),
            room: Condvar::new(),
            max_items: max_items.max(1),
            max_bytes,
        }
    }

    /// Puts an operation in.
    pub(super) fn push(&self, op: Op, wait: Wait) -> Result<(), StoreError> {
        let mut state = self.lock();
        while !state.closed && self.is_full(&state, op.size) {
            if wait == Wait::No {
                return Err(StoreError::Busy);
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.add(op);
        // Waking the writer costs more than taking an operation in: it is left alone while it
        // waits for more to share the commit.
        let wanted = state.wanted();
        drop(state);
        if wanted {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Whether an operation of so many bytes would be taken in now.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let state = self.lock();
        state.closed || !self.is_full(&state, size)
    }

    /// Puts the rest of a long operation in, from the writer itself, whatever the limits. Gives it
    /// back when the queue is closed: the end must not wait for it.
    pub(super) fn go_on(&self, op: Op) -> Option<Op> {
        let mut state = self.lock();
        if state.closed {
            return Some(op);
        }
        state.add(op);
        None
    }

    /// Operations and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.ops.len(), state.bytes)
    }

    /// Whether everything put in so far is on disk.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.ops.is_empty() && !state.in_flight
    }

    /// The next batch, waiting for one; nothing urgent lingers so that others can share its
    /// commit. `None` when the queue is closed and empty; an empty one, at once, when the writer has
    /// other work and nobody waits. Taking a batch says that the one before is done.
    pub(super) fn take(&self, linger: Duration, busy: bool) -> Option<Vec<Op>> {
        let mut state = self.lock();
        state.in_flight = false;
        while state.ops.is_empty() {
            if state.closed {
                return None;
            }
            if busy {
                state.writer = Writer::Writes;
                return Some(Vec::new());
            }
            state.writer = Writer::Idle;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writer = Writer::Lingers;
        let deadline = Instant::now() + linger;
        while !state.urgent && !state.closed && !state.is_batch() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            let waited = self.ready.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.writer = Writer::Writes;
        let count = state.next_batch();
        let batch: Vec<Op> = state.ops.drain(..count).collect();
        if state.ops.is_empty() && state.ops.capacity() > MAX_BATCH {
            // The memory of a burst is given back.
            state.ops = VecDeque::new();
        }
        state.bytes = state.bytes.saturating_sub(batch.iter().map(|op| op.size).sum());
        state.urgent = state.ops.iter().any(|op| op.urgent);
        state.in_flight = true;
        self.room.notify_all();
        Some(batch)
    }

    /// Lets no one in any more; what is in is still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
        self.room.notify_all();
    }

    fn is_full(&self, state: &State, size: usize) -> bool {
        state.ops.len() >= self.max_items
            || (!state.ops.is_empty() && state.bytes + size > self.max_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, op: Op) {
        self.bytes += op.size;
        self.urgent |= op.urgent;
        self.ops.push_back(op);
    }

    /// Whether there is enough for a commit.
    fn is_batch(&self) -> bool {
        self.ops.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES
    }

    /// How many operations the next commit takes.
    fn next_batch(&self) -> usize {
        let mut bytes = 0;
        let fits = self.ops.iter().take(MAX_BATCH).take_while(|op| {
            let first = bytes == 0;
            bytes += op.size.max(1);
            first || bytes <= MAX_BATCH_BYTES
        });
        fits.count()
    }

    /// Whether the writer is to be woken for what was just put in.
    fn wanted(&self) -> bool {
        match self.writer {
            Writer::Writes => false,
            Writer::Idle => true,
            Writer::Lingers => self.urgent || self.is_batch(),
        }
    }
}
