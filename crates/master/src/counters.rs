//! Counts every way a request leaves the master without being served, and logs them: one line per
//! kind at once, then at most one line per interval with the number since, so that a flood of bad
//! requests can fill neither the disk nor the log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shortest time between two log lines about the same kind of refusal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Why a request was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not an envelope: no MessagePack, no map, or without `enc` and `load`.
    BadEnvelope,
    /// `enc` is neither `clear` nor `aes`.
    UnknownEncryption,
    /// A protocol version below `minimum_auth_version`.
    OldVersion,
    /// An id that could not name a minion.
    BadId,
    /// No accepted key or session for that id, or the request does not open with it.
    NotDecryptable,
    /// Opened, but its token, inner id or time does not fit.
    NotVerified,
    /// Seen before.
    Replayed,
    /// A command nobody knows.
    UnknownCommand,
    /// A known command with fields that do not fit.
    BadArguments,
    /// A sign-in with an unusable key or algorithm.
    BadSignIn,
    /// A local command without the right key.
    NotAuthenticated,
    /// An authenticated peer asked for what it may not do.
    NotPermitted,
    /// An event tag minions may not fire.
    ReservedTag,
    /// More requests at once than this master takes.
    Overloaded,
    /// Not finished in time.
    TooLate,
    /// The handler failed.
    Failed,
}

const KINDS: usize = Refusal::Failed as usize + 1;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::BadEnvelope => "not a request",
            Refusal::UnknownEncryption => "unknown encryption",
            Refusal::OldVersion => "protocol version too low",
            Refusal::BadId => "invalid minion id",
            Refusal::NotDecryptable => "no session opens it",
            Refusal::NotVerified => "not verified",
            Refusal::Replayed => "replayed",
            Refusal::UnknownCommand => "unknown command",
            Refusal::BadArguments => "wrong fields",
            Refusal::BadSignIn => "unusable sign-in",
            Refusal::NotAuthenticated => "not authenticated",
            Refusal::NotPermitted => "not permitted",
            Refusal::ReservedTag => "reserved event tag",
            Refusal::Overloaded => "overloaded",
            Refusal::TooLate => "too late",
            Refusal::Failed => "failed",
        })
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    total: u64,
    unlogged: u64,
    logged: Option<Instant>,
}

/// The counts of one master.
#[derive(Default)]
pub struct Counters(Mutex<[Count; KINDS]>);

impl Counters {
    /// Counts one refusal; `detail` is only built when a line is logged.
    pub fn refuse<D: fmt::Display>(
        &self,
        why: Refusal,
        peer: Option<SocketAddr>,
        detail: impl FnOnce() -> D,
    ) {
        let Some(number) = self.count(why, Instant::now()) else { return };
        let from = peer.map_or_else(|| "this host".to_owned(), |p| p.to_string());
        log::warn!("Refused request from {from}: {why}: {} (count {number})", detail());
    }

    /// How often that happened since the start.
    #[must_use]
    pub fn total(&self, why: Refusal) -> u64 {
        self.lock().get(why as usize).map_or(0, |count| count.total)
    }

    /// Logs what was counted but not logged, when the interval is over.
    pub(crate) fn flush(&self, now: Instant) {
        for (kind, number) in self.overdue(now) {
            log::warn!("Refused {number} more requests: {kind}");
        }
    }

    /// The number to log, if a line is due now.
    fn count(&self, why: Refusal, now: Instant) -> Option<u64> {
        let mut counts = self.lock();
        let count = counts.get_mut(why as usize)?;
        count.total += 1;
        count.unlogged += 1;
        let due = count.logged.is_none_or(|at| now.duration_since(at) >= LOG_EVERY);
        due.then(|| {
            count.logged = Some(now);
            std::mem::take(&mut count.unlogged)
        })
    }

    fn overdue(&self, now: Instant) -> Vec<(Refusal, u64)> {
        let mut counts = self.lock();
        ALL.iter()
            .filter_map(|&kind| {
                let count = counts.get_mut(kind as usize)?;
                let due = count.unlogged > 0
                    && count.logged.is_some_and(|at| now.duration_since(at) >= LOG_EVERY);
                due.then(|| {
                    count.logged = Some(now);
                    (kind, std::mem::take(&mut count.unlogged))
                })
            })
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Count; KINDS]> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

const ALL: [Refusal; KINDS] = [
    Refusal::BadEnvelope,
    Refusal::UnknownEncryption,
    Refusal::OldVersion,
    Refusal::BadId,
    Refusal::NotDecryptable,
    Refusal::NotVerified,
    Refusal::Replayed,
    Refusal::UnknownCommand,
    Refusal::BadArguments,
    Refusal::BadSignIn,
    Refusal::NotAuthenticated,
    Refusal::NotPermitted,
    Refusal::ReservedTag,
    Refusal::Overloaded,
    Refusal::TooLate,
    Refusal::Failed,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_logged_once_an_interval() {
        let counters = Counters::default();
        let start = Instant::now();
        assert_eq!(counters.count(Refusal::BadEnvelope, start), Some(1));
        for _ in 0..100 {
            assert_eq!(counters.count(Refusal::BadEnvelope, start), None);
        }
        assert!(counters.overdue(start).is_empty());
        assert_eq!(counters.overdue(start + LOG_EVERY), [(Refusal::BadEnvelope, 100)]);
        assert_eq!(counters.count(Refusal::BadEnvelope, start + 3 * LOG_EVERY), Some(1));
        assert_eq!(counters.total(Refusal::BadEnvelope), 102);
        assert_eq!(counters.total(Refusal::NotVerified), 0);
    }

    #[test]
    fn kinds_are_listed_in_their_order() {
        for (index, kind) in ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
