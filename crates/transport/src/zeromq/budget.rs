//! Bounds the memory that peers make a server hold, over all connections together.
//!
//! The first 64 kB of each message come from a part of their own, so that a few peers with huge
//! messages under way never keep the small requests of everybody else out; and complete requests
//! come from a third one, so that many peers with unfinished ones do not either.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::counters::Pool;
use super::server::lock;

/// Bytes of one message that are taken from the part for small ones.
const SMALL: usize = 64 << 10;

/// A pool of which one address gets at most half.
#[derive(Debug)]
struct SharedPool {
    pool: Pool,
    share: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl SharedPool {
    fn new(limit: usize) -> SharedPool {
        SharedPool { pool: Pool::new(limit), share: limit / 2, by_address: Mutex::default() }
    }

    fn take(&self, address: IpAddr, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let mut by_address = lock(&self.by_address);
        let held = by_address.get(&address).copied().unwrap_or(0);
        let fits = held + bytes <= self.share && self.pool.take(bytes);
        if fits {
            by_address.insert(address, held + bytes);
        }
        fits
    }

    fn give(&self, address: IpAddr, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.pool.give(bytes);
        let mut by_address = lock(&self.by_address);
        if let Some(held) = by_address.get_mut(&address) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// The memory of one server for what its peers send.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The first bytes of messages under way.
    small: SharedPool,
    /// The further bytes of messages, under way or complete.
    large: SharedPool,
    /// The first bytes of complete requests.
    complete: Pool,
}

impl Budget {
    /// A budget of `bytes`: half for big messages, at least four times `max_message`; a quarter
    /// for small ones under way and another for complete ones.
    pub(crate) fn new(bytes: usize, max_message: usize) -> Budget {
        // One address gets half, and a message under way may hold twice its bytes while its
        // buffer grows: so four times is what lets a single peer send the longest message.
        Budget {
            small: SharedPool::new((bytes / 4).max(4 * SMALL)),
            large: SharedPool::new((bytes / 2).max(max_message.saturating_mul(4))),
            complete: Pool::new((bytes / 4).max(4 * SMALL)),
        }
    }
}

/// Bytes held for a message of one peer that is under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    address: IpAddr,
    small: usize,
    large: usize,
}

impl Lease {
    /// A lease of nothing.
    pub(crate) fn new(budget: Arc<Budget>, address: IpAddr) -> Lease {
        Lease { budget, address, small: 0, large: 0 }
    }

    /// Makes it a lease of `bytes`. Without room for that it stays as it is.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let (small, large) = (bytes.min(SMALL), bytes.saturating_sub(SMALL));
        let more_small = small.saturating_sub(self.small);
        if !self.budget.small.take(self.address, more_small) {
            return false;
        }
        if !self.budget.large.take(self.address, large.saturating_sub(self.large)) {
            self.budget.small.give(self.address, more_small);
            return false;
        }
        self.budget.small.give(self.address, self.small.saturating_sub(small));
        self.budget.large.give(self.address, self.large.saturating_sub(large));
        (self.small, self.large) = (small, large);
        true
    }

    /// The message is complete and has `bytes`: its lease, which leaves nothing in this one.
    /// `None` when there is no room.
    pub(crate) fn complete(&mut self, bytes: usize) -> Option<CompleteLease> {
        let (small, large) = (bytes.min(SMALL), bytes.saturating_sub(SMALL));
        let more_large = large.saturating_sub(self.large);
        if !self.budget.large.take(self.address, more_large) {
            return None;
        }
        if !self.budget.complete.take(small) {
            self.budget.large.give(self.address, more_large);
            return None;
        }
        self.budget.large.give(self.address, self.large.saturating_sub(large));
        self.large = 0;
        self.resize(0);
        let (budget, address) = (self.budget.clone(), self.address);
        Some(CompleteLease { budget, address, small, large })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// Bytes held for a complete request; given back when dropped.
#[derive(Debug)]
pub(crate) struct CompleteLease {
    budget: Arc<Budget>,
    address: IpAddr,
    small: usize,
    large: usize,
}

impl Drop for CompleteLease {
    fn drop(&mut self) {
        self.budget.complete.give(self.small);
        self.budget.large.give(self.address, self.large);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn all_came_back(budget: &Budget, bytes: usize) -> bool {
        lock(&budget.small.by_address).is_empty()
            && lock(&budget.large.by_address).is_empty()
            && budget.small.pool.take(bytes / 4)
            && budget.large.pool.take(bytes / 2)
            && budget.complete.take(bytes / 4)
    }

    #[test]
    fn one_address_gets_half_and_small_messages_always_fit() {
        let budget = Arc::new(Budget::new(16 << 20, 1 << 20));
        let mut first = Lease::new(budget.clone(), A);
        assert!(first.resize(4 << 20));
        let mut second = Lease::new(budget.clone(), A);
        assert!(!second.resize(1 << 20), "the address has its share");
        assert!(second.resize(60 << 10), "a small message fits");
        let mut other = Lease::new(budget.clone(), B);
        assert!(other.resize(4 << 20));
        drop(first);
        assert!(second.resize(1 << 20));
        drop((second, other));
        assert!(all_came_back(&budget, 16 << 20));
    }

    #[test]
    fn a_complete_request_takes_its_bytes_along() {
        let budget = Arc::new(Budget::new(4 << 20, 1 << 10));
        for (held, bytes) in [(0, 100), (100, 100), (2000, 100), (900_000, 500_000), (0, 70_000)] {
            let mut lease = Lease::new(budget.clone(), A);
            assert!(lease.resize(held));
            let complete = lease.complete(bytes).unwrap();
            assert_eq!((lease.small, lease.large), (0, 0));
            assert_eq!(complete.small + complete.large, bytes);
        }
        assert!(all_came_back(&budget, 4 << 20));
    }

    #[test]
    fn unfinished_messages_do_not_keep_complete_ones_out() {
        let budget = Arc::new(Budget::new(1 << 20, 1 << 20));
        let mut hogs: Vec<Lease> = Vec::new();
        for address in [A, B] {
            for _ in 0..4 {
                let mut lease = Lease::new(budget.clone(), address);
                lease.resize(SMALL);
                hogs.push(lease);
            }
        }
        let mut full = Lease::new(budget.clone(), A);
        assert!(!full.resize(1));
        assert!(full.complete(1000).is_some());
        drop(hogs);
        assert!(full.resize(1));
    }
}
