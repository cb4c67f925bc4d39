//! What a server counts, and the rule that a reason is logged once and then at most every minute.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const LOG_EVERY: Duration = Duration::from_secs(60);

/// Why a server closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed it.
    Peer,
    /// Bytes that are no ZMTP 3, or not in this state.
    Garbage,
    /// A frame, message, command or subscription over its limit.
    TooLong,
    /// A socket type that has no business here.
    WrongType,
    /// The handshake was not finished in time.
    HandshakeTimeout,
    /// The peer did not answer a heartbeat.
    Silent,
    /// A message that did not make progress.
    Stalled,
    /// No room: connection limits, or the budget of bytes under way.
    NoRoom,
    /// A read or write failed.
    Io,
    /// The server was closed, or did not want this peer any more.
    Shutdown,
    /// It was idle, and open files ran short.
    GaveWay,
}

impl CloseReason {
    const ALL: [CloseReason; 11] = [
        CloseReason::Peer,
        CloseReason::Garbage,
        CloseReason::TooLong,
        CloseReason::WrongType,
        CloseReason::HandshakeTimeout,
        CloseReason::Silent,
        CloseReason::Stalled,
        CloseReason::NoRoom,
        CloseReason::Io,
        CloseReason::Shutdown,
        CloseReason::GaveWay,
    ];

    /// Whether somebody should know: the ordinary ends of a connection are not worth a line.
    const fn is_notable(self) -> bool {
        !matches!(self, CloseReason::Peer | CloseReason::Io | CloseReason::Shutdown)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Peer => "closed by the peer",
            CloseReason::Garbage => "no valid ZeroMQ traffic",
            CloseReason::TooLong => "over a length limit",
            CloseReason::WrongType => "wrong socket type",
            CloseReason::HandshakeTimeout => "handshake not finished in time",
            CloseReason::Silent => "no answer to heartbeats",
            CloseReason::Stalled => "message does not make progress",
            CloseReason::NoRoom => "no room",
            CloseReason::Io => "read or write failed",
            CloseReason::Shutdown => "server closed",
            CloseReason::GaveWay => "idle while open files run short (max_open_files)",
        })
    }
}

/// Counts since the socket was bound (a snapshot).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Requests handed on (router) or messages queued to subscribers (publisher).
    pub messages: u64,
    /// Requests of another shape than `["", body]`.
    pub bad_shape: u64,
    /// Replies whose peer was gone (router); messages a full queue had no room for, or whose
    /// subscriber was gone before they were written (publisher).
    pub dropped: u64,
    /// Times that accepting a connection failed, mostly for want of open files.
    pub accept_failed: u64,
    /// Times that accepting waited because of the bound on its rate.
    pub accept_waited: u64,
    /// Closed connections by reason, in the order of [`CloseReason`]; zero counts are left out.
    pub closed: Vec<(CloseReason, u64)>,
}

impl Counters {
    /// Connections closed for this reason.
    #[must_use]
    pub fn closed_by(&self, reason: CloseReason) -> u64 {
        self.closed.iter().find(|(have, _)| *have == reason).map_or(0, |(_, count)| *count)
    }
}

/// The living counters of one server.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Begins the log lines: which server this is.
    name: String,
    pub(crate) accepted: AtomicU64,
    pub(crate) messages: AtomicU64,
    bad_shape: AtomicU64,
    dropped: AtomicU64,
    accept_failed: AtomicU64,
    accept_waited: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
    logs: [Throttle; CloseReason::ALL.len()],
    shape_log: Throttle,
    drop_log: Throttle,
    accept_log: Throttle,
}

impl Tally {
    pub(crate) fn new(name: String) -> Tally {
        Tally {
            name,
            accepted: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bad_shape: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            accept_failed: AtomicU64::new(0),
            accept_waited: AtomicU64::new(0),
            closed: Default::default(),
            logs: Default::default(),
            shape_log: Throttle::default(),
            drop_log: Throttle::default(),
            accept_log: Throttle::default(),
        }
    }

    /// Counts a closed connection; `detail` says more than the reason, or is empty.
    pub(crate) fn close(&self, reason: CloseReason, peer: SocketAddr, detail: &str) {
        let index = reason as usize;
        let (Some(count), Some(log)) = (self.closed.get(index), self.logs.get(index)) else {
            return;
        };
        let count = count.fetch_add(1, Relaxed) + 1;
        if !reason.is_notable() {
            log::debug!("{}: connection from {peer} ended: {reason} {detail}", self.name);
        } else if log.permits() {
            let colon = if detail.is_empty() { "" } else { ": " };
            log::warn!(
                "{}: closed a connection from {peer}: {reason}{colon}{detail} ({count} so far)",
                self.name
            );
        }
    }

    pub(crate) fn bad_shape(&self, peer: SocketAddr) {
        let count = self.bad_shape.fetch_add(1, Relaxed) + 1;
        if self.shape_log.permits() {
            log::warn!(
                "{}: dropped a message from {peer} that is no request ({count} so far)",
                self.name
            );
        }
    }

    /// Counts `n` messages or replies that could not be passed on.
    pub(crate) fn dropped(&self, n: usize, peer: SocketAddr, why: &str) {
        let count = self.dropped.fetch_add(n as u64, Relaxed) + n as u64;
        if self.drop_log.permits() {
            log::warn!("{}: dropped a message to {peer}: {why} ({count} so far)", self.name);
        }
    }

    pub(crate) fn accepting_waits(&self) {
        self.accept_waited.fetch_add(1, Relaxed);
    }

    pub(crate) fn accept_failed(&self, error: &std::io::Error) {
        self.accept_failed.fetch_add(1, Relaxed);
        if self.accept_log.permits() {
            log::error!("{}: cannot accept connections: {error}; trying on", self.name);
        }
    }

    pub(crate) fn snapshot(&self, open: usize) -> Counters {
        let closed = CloseReason::ALL.iter().zip(&self.closed);
        let closed = closed.map(|(reason, count)| (*reason, count.load(Relaxed)));
        Counters {
            accepted: self.accepted.load(Relaxed),
            open: open as u64,
            messages: self.messages.load(Relaxed),
            bad_shape: self.bad_shape.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            accept_failed: self.accept_failed.load(Relaxed),
            accept_waited: self.accept_waited.load(Relaxed),
            closed: closed.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// Lets one log line through now, then at most one a minute.
#[derive(Debug, Default)]
struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    fn permits(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let permits = last.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if permits {
            *last = Some(now);
        }
        permits
    }
}

/// A count of bytes with an upper bound, taken and given back by many.
#[derive(Debug)]
pub(crate) struct Pool {
    used: AtomicUsize,
    limit: usize,
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Pool {
        Pool { used: AtomicUsize::new(0), limit }
    }

    pub(crate) fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    pub(crate) fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_once_and_counted_always() {
        let throttle = Throttle::default();
        assert!(throttle.permits() && !throttle.permits());
        let tally = Tally::new("test".into());
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        for _ in 0..3 {
            tally.close(CloseReason::Garbage, peer, "");
        }
        let counters = tally.snapshot(2);
        assert_eq!(counters.closed, [(CloseReason::Garbage, 3)]);
        assert_eq!((counters.closed_by(CloseReason::Io), counters.open), (0, 2));
    }

    #[test]
    fn every_reason_has_its_own_place() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn a_pool_never_gives_more_than_it_has() {
        let pool = Pool::new(10);
        assert!(pool.take(7) && !pool.take(4) && !pool.take(usize::MAX));
        pool.give(7);
        assert!(pool.take(10));
    }
}
