//! Counts every way a request leaves the master without being served, and logs them: one line per
//! kind at once, then at most one line per interval with the number since, so that a flood of bad
//! requests can fill neither the disk nor the log. What other parts count is read where it is
//! shown: `salt-run manage.health`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
    /// More sign-ins at once than this master takes.
    Overloaded,
    /// A return that found the queue of the job cache full.
    ReturnsFull,
    /// A return that the job cache could not keep.
    NotKept,
    /// More runners at once than this master takes.
    RunnersFull,
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
            Refusal::ReturnsFull => "queue of the job cache full",
            Refusal::NotKept => "return not kept",
            Refusal::RunnersFull => "too many runners",
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
pub struct Counters {
    refused: Mutex<[Count; KINDS]>,
    started: Instant,
    /// Requests taken since the start, and those at work now.
    taken: AtomicU64,
    at_work: AtomicU64,
    /// Times that a request had to wait for one of the places at work.
    waited: AtomicU64,
    /// When the operator last asked for counts from nought, and what they were then.
    baseline: Mutex<Option<(Instant, BTreeMap<String, u64>)>>,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            refused: Mutex::default(),
            started: Instant::now(),
            taken: AtomicU64::new(0),
            at_work: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            baseline: Mutex::default(),
        }
    }
}

/// Requests, as far as the one place counts them through which all go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Taken since the start.
    pub taken: u64,
    /// At work now.
    pub at_work: u64,
    /// How often one had to wait for a place.
    pub waited: u64,
}

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

    /// A request is worked on until [`Counters::end`]; `waited`: it had to wait for a place.
    pub(crate) fn begin(&self, waited: bool) {
        self.taken.fetch_add(1, Relaxed);
        self.at_work.fetch_add(1, Relaxed);
        self.waited.fetch_add(u64::from(waited), Relaxed);
    }

    /// A request gives its place back.
    pub(crate) fn end(&self) {
        self.at_work.fetch_sub(1, Relaxed);
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Requests {
        Requests {
            taken: self.taken.load(Relaxed),
            at_work: self.at_work.load(Relaxed),
            waited: self.waited.load(Relaxed),
        }
    }

    /// Time since the start of the master.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Every kind of refusal with its count.
    pub(crate) fn refusals(&self) -> Vec<(Refusal, u64)> {
        let counts = self.lock();
        ALL.iter().zip(counts.iter()).map(|(kind, count)| (*kind, count.total)).collect()
    }

    /// Later answers of [`Counters::since`] count from these values on.
    pub(crate) fn set_baseline(&self, counts: BTreeMap<String, u64>) {
        *crate::context::lock(&self.baseline) = Some((Instant::now(), counts));
    }

    /// Time since the last baseline, or the start, and what the counts were then.
    pub(crate) fn since(&self) -> (Duration, BTreeMap<String, u64>) {
        match &*crate::context::lock(&self.baseline) {
            Some((at, counts)) => (at.elapsed(), counts.clone()),
            None => (self.uptime(), BTreeMap::new()),
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
        self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
    Refusal::ReturnsFull,
    Refusal::NotKept,
    Refusal::RunnersFull,
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
        assert!(counters.refusals().contains(&(Refusal::BadEnvelope, 102)));
    }

    #[test]
    fn kinds_are_listed_in_their_order() {
        for (index, kind) in ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
