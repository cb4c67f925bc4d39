//! Simulated time and the agenda of what happens when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// Time since the history began.
pub(crate) type Time = Duration;

/// Milliseconds as a time.
pub(crate) const fn ms(milliseconds: u64) -> Time {
    Duration::from_millis(milliseconds)
}

/// Seconds as a time.
pub(crate) const fn secs(seconds: u64) -> Time {
    Duration::from_secs(seconds)
}

/// A time between two others.
pub(crate) fn between(rng: &mut fastrand::Rng, from: Time, to: Time) -> Time {
    from + to.saturating_sub(from).mul_f64(rng.f64())
}

struct Entry<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What happens when; events of the same moment come in the order in which they were entered.
pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    numbers: u64,
    now: Time,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Agenda { heap: BinaryHeap::new(), numbers: 0, now: Time::ZERO }
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Enters an event; one for the past happens next.
    pub(crate) fn at(&mut self, at: Time, event: E) {
        self.numbers += 1;
        self.heap.push(Reverse(Entry { at: at.max(self.now), number: self.numbers, event }));
    }

    pub(crate) fn after(&mut self, pause: Time, event: E) {
        self.at(self.now + pause, event);
    }

    /// The next event; the clock is set to its time.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}
