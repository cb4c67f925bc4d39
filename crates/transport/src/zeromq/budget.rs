//! Bounds the memory that peers make a server hold, over all connections together.
//!
//! The first 64 kB of each message come from a part of their own, so that a few peers with huge
//! messages under way never keep the small requests of everybody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::counters::Pool;

/// Bytes of one message that are taken from the part for small ones.
const SMALL: usize = 64 << 10;

/// The memory of one server for what its peers send.
#[derive(Debug)]
pub(crate) struct Budget {
    small: Pool,
    large: Pool,
    /// Bytes of `large` one address may hold.
    share: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Budget {
    /// A budget of `bytes`, a quarter of it for small messages; at least enough for two messages
    /// of `max_message` bytes at a time.
    pub(crate) fn new(bytes: usize, max_message: usize) -> Budget {
        // A message under way may hold twice its bytes, while its buffer grows.
        let large = (bytes - bytes / 4).max(max_message.saturating_mul(4));
        Budget {
            small: Pool::new((bytes / 4).max(SMALL)),
            large: Pool::new(large),
            share: large / 2,
            by_address: Mutex::default(),
        }
    }

    fn take_large(&self, address: IpAddr, bytes: usize) -> bool {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let held = by_address.get(&address).copied().unwrap_or(0);
        let fits = held + bytes <= self.share && self.large.take(bytes);
        if fits {
            by_address.insert(address, held + bytes);
        }
        fits
    }

    fn give_large(&self, address: IpAddr, bytes: usize) {
        self.large.give(bytes);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = by_address.get_mut(&address) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// Bytes held on behalf of one peer; given back when dropped.
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
        if small > self.small && !self.budget.small.take(small - self.small) {
            return false;
        }
        if large > self.large && !self.budget.take_large(self.address, large - self.large) {
            self.budget.small.give(small.saturating_sub(self.small));
            return false;
        }
        self.budget.small.give(self.small.saturating_sub(small));
        if large < self.large {
            self.budget.give_large(self.address, self.large - large);
        }
        (self.small, self.large) = (small, large);
        true
    }

    /// Splits off all of it, leaving nothing.
    pub(crate) fn take(&mut self) -> Lease {
        let taken = Lease { budget: self.budget.clone(), ..*self };
        (self.small, self.large) = (0, 0);
        taken
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn one_address_gets_half_and_small_messages_always_fit() {
        let budget = Arc::new(Budget::new(16 << 20, 1 << 20));
        let mut first = Lease::new(budget.clone(), A);
        assert!(first.resize(6 << 20));
        let mut second = Lease::new(budget.clone(), A);
        assert!(!second.resize(1 << 20), "the address has its share");
        assert!(second.resize(60 << 10), "a small message fits");
        let mut other = Lease::new(budget.clone(), B);
        assert!(other.resize(6 << 20));
        drop(first);
        assert!(second.resize(1 << 20));
        drop((second, other));
        assert!(budget.by_address.lock().unwrap().is_empty());
        assert!(budget.large.take(12 << 20) && budget.small.take(4 << 20), "all came back");
    }

    #[test]
    fn a_taken_lease_is_given_back_once() {
        let budget = Arc::new(Budget::new(4 << 20, 1 << 10));
        let mut lease = Lease::new(budget.clone(), A);
        assert!(lease.resize(1 << 20));
        let mut taken = lease.take();
        assert!(taken.resize(100));
        drop((lease, taken));
        assert!(budget.large.take(3 << 20) && budget.small.take(1 << 20));
    }
}
