//! The open files that peers may use, shared by the servers of one process.
//!
//! A subscription is a minion that can be reached, and it lasts. A connection for requests is made
//! again in a moment by whoever needs it. So when files run short, idle connections for requests
//! give way to subscriptions and to new requests; a few places are kept back for requests, because
//! a minion that can never ask cannot sign in.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::server::lock;

/// Files kept back for the store, the bus, programs: a fifth of the limit within these bounds.
const OWN_LEAST: usize = 40;
const OWN_MOST: usize = 256;

/// What kind of connections a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Subscriptions.
    Lasting,
    /// Connections for requests.
    Passing,
}

type GiveWay = Box<dyn Fn(usize) + Send + Sync>;

/// The open files that peers may use. Made once, after the limit of the process was set, and given
/// to each of its servers.
pub struct Places {
    limit: usize,
    lasting: AtomicUsize,
    passing: AtomicUsize,
    /// Connections for requests that were asked to end and are still there.
    leaving: AtomicUsize,
    /// Closes that many idle connections for requests.
    give_way: Mutex<Option<GiveWay>>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Places {
    /// What the present limit of open files leaves.
    #[must_use]
    pub fn of_this_process() -> Arc<Places> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Places::of(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX))
    }

    /// What a limit of `files` leaves.
    #[must_use]
    pub fn of(files: usize) -> Arc<Places> {
        let own = (files / 5).clamp(OWN_LEAST, OWN_MOST);
        Arc::new(Places {
            limit: files.saturating_sub(own).max(8),
            lasting: AtomicUsize::new(0),
            passing: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
            give_way: Mutex::default(),
        })
    }

    /// Connections that there may be.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Connections that there are.
    #[must_use]
    pub fn used(&self) -> usize {
        self.lasting.load(Relaxed) + self.passing.load(Relaxed)
    }

    /// Connections for requests that were asked to end and are still there.
    pub(crate) fn leaving(&self) -> usize {
        self.leaving.load(Relaxed)
    }

    /// One was asked to end.
    pub(crate) fn asked(&self) {
        self.leaving.fetch_add(1, Relaxed);
    }

    /// One that was asked to end has ended, or stays.
    pub(crate) fn answered(&self) {
        self.leaving.fetch_sub(1, Relaxed);
    }

    /// How many connections of a kind there may be now.
    pub(crate) fn allowed(&self, role: Role) -> usize {
        let kept = (self.limit / 32).max(4);
        match role {
            Role::Lasting => self.limit - kept,
            Role::Passing => self.limit.saturating_sub(self.lasting.load(Relaxed)).max(kept),
        }
    }

    /// How many connections are closed at a time when there are too many: looking for the one idle
    /// longest among thousands, for each that comes, would cost more than the connection.
    pub(crate) fn batch(&self) -> usize {
        (self.limit / 64).clamp(1, 256)
    }

    pub(crate) fn on_pressure(&self, give_way: GiveWay) {
        *lock(&self.give_way) = Some(give_way);
    }

    /// Closes idle connections for requests.
    pub(crate) fn make_room(&self, number: usize) {
        if let Some(give_way) = &*lock(&self.give_way) {
            give_way(number);
        }
    }

    pub(crate) fn enter(&self, role: Role) {
        self.count(role).fetch_add(1, Relaxed);
        // Those who were asked to end are gone in a moment: without them a burst of subscriptions
        // would close all others many times over.
        let staying = self.used().saturating_sub(self.leaving());
        if role == Role::Lasting && staying + self.batch() > self.limit {
            self.make_room(self.batch());
        }
    }

    pub(crate) fn leave(&self, role: Role) {
        self.count(role).fetch_sub(1, Relaxed);
    }

    fn count(&self, role: Role) -> &AtomicUsize {
        match role {
            Role::Lasting => &self.lasting,
            Role::Passing => &self.passing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_leave_make_room_once() {
        let places = Places::of(200);
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, weak) = (Arc::clone(&asked), Arc::downgrade(&places));
        places.on_pressure(Box::new(move |number| {
            count.fetch_add(number, Relaxed);
            (0..number).for_each(|_| weak.upgrade().unwrap().asked());
        }));
        for _ in 0..100 {
            places.enter(Role::Passing);
        }
        for _ in 0..80 {
            places.enter(Role::Lasting);
        }
        // 180 of 160, and room for as many as are asked at a time.
        let excess = 20 + places.batch();
        assert!((excess..excess + places.batch()).contains(&asked.load(Relaxed)));
    }

    #[test]
    fn subscriptions_come_before_requests_but_do_not_take_all() {
        let places = Places::of(200);
        assert_eq!(places.limit(), 160);
        assert_eq!((places.allowed(Role::Lasting), places.allowed(Role::Passing)), (155, 160));
        for _ in 0..150 {
            places.enter(Role::Lasting);
        }
        assert_eq!(places.allowed(Role::Passing), 10);
        for _ in 0..5 {
            places.enter(Role::Lasting);
        }
        assert_eq!(places.allowed(Role::Passing), 5);
        assert!(Places::of(10).allowed(Role::Lasting) >= 4);
        assert!(Places::of(usize::MAX).allowed(Role::Passing) > 1 << 40);
    }
}
