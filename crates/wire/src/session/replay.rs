//! Remembers requests, so that one that was listened to cannot be sent again (CVE-2024-38823).

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use saltern_crypto::HashType;

use super::server::MinionRequest;
use crate::limits;

/// Whether a request was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Serve it; it changes nothing, so it may come again.
    First,
    /// Serve it. The mark is to be kept where it outlives the program, for
    /// [`ReplayGuard::restore`]: sessions outlive it, too.
    Noted(u64),
    /// Seen before, and serving it again would change something: answer `bad load`.
    Repeated,
}

/// The state-changing requests of the last while, bounded in number and age.
///
/// Salt's own clients seal each try of such a request anew; only `_pillar` is sent again as the
/// same bytes after a time-out, and that changes nothing, so it is never called repeated.
#[derive(Debug)]
pub struct ReplayGuard {
    window: Duration,
    capacity: usize,
    seen: HashSet<u64>,
    order: VecDeque<(Instant, u64)>,
}

impl Default for ReplayGuard {
    /// Remembers for a day, the life of a session key: after it a request cannot be opened.
    fn default() -> Self {
        Self::new(Duration::from_secs(86_400), limits::REPLAY_ENTRIES)
    }
}

impl ReplayGuard {
    /// Remembers requests for `window`, and at most `capacity` of them.
    #[must_use]
    pub fn new(window: Duration, capacity: usize) -> Self {
        ReplayGuard { window, capacity, seen: HashSet::new(), order: VecDeque::new() }
    }

    /// Notes a request that was verified.
    pub fn check(&mut self, request: &MinionRequest, now: Instant) -> Replay {
        let Some(nonce) = request.nonce().filter(|_| request.command.changes_state()) else {
            return Replay::First;
        };
        self.forget(now);
        let mark = mark(request.id.as_str(), nonce);
        if !self.seen.insert(mark) {
            return Replay::Repeated;
        }
        self.order.push_back((now, mark));
        Replay::Noted(mark)
    }

    /// Takes a request for seen that was noted by a former run, `age` before `now`. To be called
    /// with the oldest first, before any check.
    pub fn restore(&mut self, mark: u64, age: Duration, now: Instant) {
        if age > self.window || !self.seen.insert(mark) {
            return;
        }
        // A machine that was just started has no clock that goes back that far; remembering for
        // longer does no harm.
        self.order.push_back((now.checked_sub(age).unwrap_or(now), mark));
        self.forget(now);
    }

    /// How many requests are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, mark)) = self.order.front().copied() {
            let old = now.saturating_duration_since(at) > self.window;
            if !old && self.order.len() < self.capacity {
                break;
            }
            self.order.pop_front();
            self.seen.remove(&mark);
        }
    }
}

/// Eight bytes that stand for a minion's nonce. They come from a digest, so a minion cannot make
/// a request of another one look repeated.
fn mark(id: &str, nonce: &str) -> u64 {
    let digest = HashType::Sha256.hex_digest(format!("{id}\0{nonce}").as_bytes());
    digest.get(..16).and_then(|d| u64::from_str_radix(d, 16).ok()).unwrap_or_default()
}
