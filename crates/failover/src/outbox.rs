//! What must not be lost on its way to a master: which item goes to which live master when, and
//! what is dropped when there is more than there is room for. Knows items by number and size only;
//! what they hold lies with the program around it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::Master;

/// Failed tries at the master that asked for it before any live one is taken (R3).
const LOYAL_TRIES: u32 = 2;

/// How long the way to the master that asked is looked for before that counts as a failed try.
const ABSENT: Duration = Duration::from_millis(250);

/// How long after some master came back absence does not count at all: the ways to the others come
/// about within seconds, as after a restart of the minion or when all masters were down.
const SETTLES: Duration = Duration::from_secs(5);

/// Pauses after failed tries: the first few are short, then each is twice the one before.
const SHORT_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One item, numbered in the order of age by whoever adds it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Parcel(pub u64);

/// How much is kept while no master takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes; a single larger one is kept as long as it is alone.
    pub bytes: u64,
    /// Items.
    pub items: usize,
    /// Time since the item was made.
    pub age: Duration,
    /// Failed tries of an item after which its pauses grow (`return_retry_tries`).
    pub tries: u32,
    /// Items under way at a time.
    pub flights: usize,
}

#[derive(Debug)]
struct Entry {
    origin: Option<Master>,
    bytes: u64,
    expires: Option<Instant>,
    tries: u32,
    not_before: Option<Instant>,
    flying: bool,
}

/// The items that no master has acknowledged yet.
#[derive(Debug)]
pub struct Outbox {
    bounds: Bounds,
    entries: BTreeMap<Parcel, Entry>,
    /// Those that are not under way and wait for no moment.
    due: BTreeSet<Parcel>,
    /// Those that wait for one.
    later: BTreeSet<(Instant, Parcel)>,
    bytes: u64,
    flying: usize,
    /// From when on absence counts; `None` while there is no master.
    settles: Option<Instant>,
    rng: fastrand::Rng,
}

impl Outbox {
    /// An empty one. `rng` spreads the pauses.
    #[must_use]
    pub fn new(bounds: Bounds, rng: fastrand::Rng) -> Self {
        let (entries, due, later) = Default::default();
        Outbox { bounds, entries, due, later, bytes: 0, flying: 0, settles: None, rng }
    }

    /// Adds an item made `age` ago; `origin` is the master that asked for it, `None` when any will
    /// do. Gives back the items, oldest first, for which there is no more room.
    pub fn add(
        &mut self,
        parcel: Parcel,
        origin: Option<Master>,
        bytes: u64,
        age: Duration,
        now: Instant,
    ) -> Vec<Parcel> {
        let expires = now.checked_add(self.bounds.age.saturating_sub(age));
        let entry = Entry { origin, bytes, expires, tries: 0, not_before: None, flying: false };
        if let Some(same) = self.entries.insert(parcel, entry) {
            debug_assert!(false, "the number {parcel:?} was used before");
            self.bytes -= same.bytes;
        }
        self.due.insert(parcel);
        self.bytes += bytes;
        let mut dropped = Vec::new();
        while self.entries.len() > self.bounds.items.max(1)
            || (self.bytes > self.bounds.bytes && self.entries.len() > 1)
        {
            // What is under way just now has the best chance to leave room by itself.
            let oldest = self.entries.iter().find(|(_, e)| !e.flying).map(|(parcel, _)| *parcel);
            let Some(oldest) = oldest.filter(|oldest| *oldest != parcel) else { break };
            self.remove(oldest);
            dropped.push(oldest);
        }
        dropped
    }

    /// The next item to send now and the master to send it to, which must be one of `live`: the
    /// masters requests can go to, the best one first. It is under way from then on, until
    /// [`Outbox::delivered`] or [`Outbox::failed`].
    pub fn next(&mut self, now: Instant, live: &[Master]) -> Option<(Parcel, Master)> {
        if live.is_empty() {
            self.settles = None;
        }
        if live.is_empty() || self.flying >= self.bounds.flights.max(1) {
            return None;
        }
        let settles = *self.settles.get_or_insert(now + SETTLES);
        self.wake(now);
        while let Some(parcel) = self.due.pop_first() {
            let Some(entry) = self.entries.get_mut(&parcel) else { continue };
            let Some(master) = choice(entry, live) else {
                if now >= settles {
                    entry.tries += 1;
                }
                self.wait_until(parcel, now + ABSENT);
                continue;
            };
            entry.flying = true;
            self.flying += 1;
            return Some((parcel, master));
        }
        None
    }

    /// When [`Outbox::next`] may have something it has not now, as far as time goes.
    #[must_use]
    pub fn wake_at(&self, live: &[Master]) -> Option<Instant> {
        let wanted = !live.is_empty() && self.flying < self.bounds.flights.max(1);
        self.later.first().map(|(at, _)| *at).filter(|_| wanted)
    }

    /// When the oldest item expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        self.entries.values().find(|e| !e.flying).and_then(|e| e.expires)
    }

    /// A master has acknowledged it. `false` when it is not known (any more).
    pub fn delivered(&mut self, parcel: Parcel) -> bool {
        self.remove(parcel)
    }

    /// A try failed.
    pub fn failed(&mut self, parcel: Parcel, now: Instant) {
        let Some(entry) = self.entries.get_mut(&parcel).filter(|e| e.flying) else { return };
        entry.flying = false;
        entry.tries = entry.tries.saturating_add(1);
        let many = entry.tries.saturating_sub(self.bounds.tries.max(LOYAL_TRIES));
        let pause = SHORT_PAUSE.saturating_mul(1 << many.min(16)).min(LONGEST_PAUSE);
        self.flying -= 1;
        let pause = pause.mul_f64(0.5 + 0.5 * self.rng.f64());
        self.wait_until(parcel, now + pause);
    }

    /// A way to this master has come about: what waits for its turn may be tried again now.
    pub fn released(&mut self, master: Master) {
        for (_, parcel) in std::mem::take(&mut self.later) {
            let Some(entry) = self.entries.get_mut(&parcel) else { continue };
            if entry.origin == Some(master) && entry.tries == LOYAL_TRIES {
                // It was not there to be tried.
                entry.tries = LOYAL_TRIES - 1;
            }
            entry.not_before = None;
            self.due.insert(parcel);
        }
    }

    /// Takes out the items that are too old.
    pub fn expire(&mut self, now: Instant) -> Vec<Parcel> {
        let old = |e: &Entry| !e.flying && e.expires.is_some_and(|at| at <= now);
        let gone: Vec<_> =
            self.entries.iter().filter(|(_, e)| old(e)).map(|(parcel, _)| *parcel).collect();
        for parcel in &gone {
            self.remove(*parcel);
        }
        gone
    }

    /// How many wait or are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flying
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn wake(&mut self, now: Instant) {
        while let Some((_, parcel)) = self.later.first().filter(|(at, _)| *at <= now).copied() {
            self.later.pop_first();
            if let Some(entry) = self.entries.get_mut(&parcel) {
                entry.not_before = None;
                self.due.insert(parcel);
            }
        }
    }

    fn wait_until(&mut self, parcel: Parcel, at: Instant) {
        if let Some(entry) = self.entries.get_mut(&parcel) {
            entry.not_before = Some(at);
            self.later.insert((at, parcel));
        }
    }

    fn remove(&mut self, parcel: Parcel) -> bool {
        let Some(entry) = self.entries.remove(&parcel) else { return false };
        self.bytes -= entry.bytes;
        self.flying -= usize::from(entry.flying);
        self.due.remove(&parcel);
        if let Some(at) = entry.not_before {
            self.later.remove(&(at, parcel));
        }
        true
    }
}

/// Where an item goes: to the master that asked for it, after two tries there to all in turn, the
/// one that asked among them. `None` while the one that asked is waited for.
fn choice(entry: &Entry, live: &[Master]) -> Option<Master> {
    let own = entry.origin.filter(|origin| live.contains(origin));
    let (Some(origin), true) = (entry.origin, entry.tries < LOYAL_TRIES) else {
        let others: Vec<_> = live.iter().copied().filter(|m| Some(*m) != own).chain(own).collect();
        let turn = entry.tries.saturating_sub(entry.origin.map_or(0, |_| LOYAL_TRIES));
        return others.get(turn as usize % others.len().max(1)).copied();
    };
    own.filter(|own| *own == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Master = Master(0);
    const B: Master = Master(1);
    const BOUNDS: Bounds =
        Bounds { bytes: 100, items: 10, age: Duration::from_secs(3600), tries: 3, flights: 2 };

    fn outbox(bounds: Bounds) -> (Outbox, Instant) {
        (Outbox::new(bounds, fastrand::Rng::with_seed(1)), Instant::now())
    }

    fn add(outbox: &mut Outbox, n: u64, origin: Option<Master>, now: Instant) -> Vec<Parcel> {
        outbox.add(Parcel(n), origin, 10, Duration::ZERO, now)
    }

    #[test]
    fn the_master_that_asked_comes_first_and_after_two_failures_any() {
        let (mut outbox, mut now) = outbox(BOUNDS);
        add(&mut outbox, 1, Some(A), now);
        let mut tried = Vec::new();
        for _ in 0..5 {
            let (parcel, master) = outbox.next(now, &[B, A]).unwrap();
            assert!(outbox.next(now, &[B, A]).is_none(), "it is under way");
            tried.push(master);
            outbox.failed(parcel, now);
            assert!(outbox.next(now, &[B, A]).is_none(), "not at once again");
            now = outbox.wake_at(&[B, A]).unwrap();
        }
        assert_eq!(tried, [A, A, B, A, B]);
        let (parcel, _) = outbox.next(now, &[B, A]).unwrap();
        assert!(outbox.delivered(parcel) && !outbox.delivered(parcel));
        assert_eq!((outbox.len(), outbox.bytes(), outbox.in_flight()), (0, 0, 0));
    }

    #[test]
    fn a_master_that_is_not_there_is_waited_for_a_moment_only() {
        let (mut outbox, mut now) = outbox(BOUNDS);
        add(&mut outbox, 1, Some(A), now);
        assert!(outbox.next(now, &[]).is_none() && outbox.wake_at(&[]).is_none());
        let mut wait = |outbox: &mut Outbox| {
            let mut waited = Duration::ZERO;
            loop {
                if let Some((parcel, master)) = outbox.next(now, &[B]) {
                    assert!(outbox.delivered(parcel));
                    return (master, waited);
                }
                let next = outbox.wake_at(&[B]).unwrap();
                (waited, now) = (waited + (next - now), next);
            }
        };
        // Somebody has just come back, perhaps A comes too; later that is not expected.
        assert_eq!(wait(&mut outbox), (B, SETTLES + 2 * ABSENT));
        outbox.add(Parcel(2), Some(A), 10, Duration::ZERO, Instant::now());
        assert_eq!(wait(&mut outbox), (B, 2 * ABSENT));
    }

    #[test]
    fn the_master_that_asked_gets_it_when_it_comes_back_second() {
        let (mut outbox, now) = outbox(BOUNDS);
        add(&mut outbox, 1, Some(A), now);
        assert!(outbox.next(now, &[]).is_none());
        assert!(outbox.next(now, &[B]).is_none());
        let soon = now + Duration::from_secs(3);
        assert!(outbox.next(soon, &[B]).is_none());
        outbox.released(A);
        assert_eq!(outbox.next(soon, &[B, A]), Some((Parcel(1), A)));
    }

    #[test]
    fn without_a_wish_any_master_will_do_and_few_are_under_way() {
        let (mut outbox, now) = outbox(BOUNDS);
        for n in 1..=3 {
            add(&mut outbox, n, None, now);
        }
        assert_eq!(outbox.next(now, &[B]), Some((Parcel(1), B)));
        assert_eq!(outbox.next(now, &[B]), Some((Parcel(2), B)));
        assert_eq!(outbox.next(now, &[B]), None);
        outbox.failed(Parcel(1), now);
        assert_eq!(outbox.next(now, &[B]), Some((Parcel(3), B)));
    }

    #[test]
    fn a_new_connection_ends_all_pauses() {
        let (mut outbox, mut now) = outbox(BOUNDS);
        add(&mut outbox, 1, Some(A), now);
        for _ in 0..40 {
            match outbox.next(now, &[B]) {
                Some((parcel, _)) => outbox.failed(parcel, now),
                None => now = outbox.wake_at(&[B]).unwrap(),
            }
        }
        while let Some((parcel, _)) = outbox.next(now, &[B]) {
            outbox.failed(parcel, now);
        }
        assert!(outbox.next(now, &[B]).is_none());
        outbox.released(B);
        assert!(outbox.next(now, &[B]).is_some());
    }

    #[test]
    fn the_oldest_give_way_but_never_the_newest_or_one_under_way() {
        let (mut outbox, now) = outbox(Bounds { items: 3, ..BOUNDS });
        for n in 1..=3 {
            assert!(add(&mut outbox, n, None, now).is_empty());
        }
        assert_eq!(outbox.next(now, &[A]), Some((Parcel(1), A)));
        assert_eq!(add(&mut outbox, 4, None, now), [Parcel(2)]);
        outbox.failed(Parcel(1), now);
        let large = outbox.add(Parcel(5), None, 1000, Duration::ZERO, now);
        assert_eq!(large, [Parcel(1), Parcel(3), Parcel(4)]);
        assert_eq!((outbox.len(), outbox.bytes()), (1, 1000));
    }

    #[test]
    fn age_counts_from_the_making() {
        let (mut outbox, now) = outbox(BOUNDS);
        outbox.add(Parcel(1), None, 10, Duration::from_secs(3599), now);
        add(&mut outbox, 2, None, now);
        assert_eq!(outbox.expires_at(), Some(now + Duration::from_secs(1)));
        assert!(outbox.expire(now).is_empty());
        assert_eq!(outbox.expire(now + Duration::from_secs(1)), [Parcel(1)]);
        assert_eq!(outbox.len(), 1);
    }
}
