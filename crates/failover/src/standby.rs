//! Which masters we could be on at once: each of the list is signed in at from time to time, and a
//! few links are kept open, so that a switch is one subscription away.

use std::time::{Duration, Instant};

use saltern_base::backoff::Backoff;

use crate::election::{Flight, retry_pause};
use crate::policy::Policy;
use crate::types::{Attempt, Master, Readiness, Ready, Soft, Verdict};

/// What is known of one master.
#[derive(Clone, Debug)]
struct Record {
    state: Ready,
    checked: Option<Instant>,
    /// When to sign in there next; `None` = not before something happens.
    due: Option<Instant>,
    /// A link is kept open.
    warm: bool,
    /// A link shall be kept open.
    wanted: bool,
    /// Pauses while it cannot be reached.
    unreachable: Backoff,
    /// Pauses while somebody has to act.
    refused: Backoff,
    /// Pauses while it closes the links we keep.
    cooled: Backoff,
    warm_since: Option<Instant>,
}

/// What is known of all of them.
#[derive(Debug)]
pub(crate) struct Standby {
    on: bool,
    interval: Duration,
    records: Vec<Record>,
    flights: Vec<Flight>,
    next_start: Option<Instant>,
}

impl Standby {
    pub(crate) fn new(policy: &Policy) -> Self {
        let refused = Policy::BACKOFF_FIRST.max(policy.acceptance_wait);
        let record = Record {
            state: Ready::Unknown,
            checked: None,
            due: None,
            warm: false,
            wanted: false,
            unreachable: Backoff::new(Policy::BACKOFF_FIRST, Policy::PREPARE_MAX),
            refused: Backoff::new(refused, policy.standby_interval.max(refused)),
            cooled: Backoff::new(Duration::from_secs(4), policy.standby_interval),
            warm_since: None,
        };
        Standby {
            on: policy.standby,
            interval: policy.standby_interval,
            records: vec![record; policy.masters.len()],
            flights: Vec::new(),
            next_start: None,
        }
    }

    /// What is known, in configured order.
    pub(crate) fn readiness(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.records.iter().enumerate().map(|(position, record)| Readiness {
            master: Master(position),
            state: record.state,
            checked: record.checked,
            warm: record.warm,
        })
    }

    pub(crate) fn state(&self, master: Master) -> Ready {
        self.records.get(master.0).map_or(Ready::Unknown, |record| record.state)
    }

    /// The smaller, the sooner it is tried when a master is needed.
    pub(crate) fn rank(&self, master: Master) -> u8 {
        match self.state(master) {
            Ready::Ready | Ready::Current => 0,
            Ready::Unknown => 1,
            Ready::NotReady(Verdict::Soft(Soft::Draining { .. })) => 3,
            Ready::NotReady(_) => 2,
        }
    }

    /// The link kept to this master is used, or closed; whether there was one.
    pub(crate) fn take_warm(&mut self, master: Master) -> bool {
        let Some(record) = self.records.get_mut(master.0) else { return false };
        (record.wanted, record.warm_since) = (false, None);
        std::mem::take(&mut record.warm)
    }

    /// All kept links are given up.
    pub(crate) fn take_all_warm(&mut self) -> Vec<Master> {
        let all = (0..self.records.len()).map(Master);
        all.filter(|master| self.take_warm(*master)).collect()
    }

    /// A full sign-in there, for whatever reason, ended so. Unless it came of a connection in use
    /// the master is to be asked again later; `random` in `0.0..1.0`.
    pub(crate) fn learn(&mut self, master: Master, verdict: Verdict, now: Instant, random: f64) {
        let interval = self.interval;
        let Some(record) = self.records.get_mut(master.0) else { return };
        record.checked = Some(now);
        record.state = match verdict {
            Verdict::Ok => Ready::Ready,
            other => Ready::NotReady(other),
        };
        let pause = match verdict {
            Verdict::Ok => {
                record.unreachable.reset();
                record.refused.reset();
                interval.mul_f64(0.75 + 0.5 * random.clamp(0.0, 1.0))
            }
            Verdict::Soft(Soft::Busy { retry_after } | Soft::Draining { retry_after }) => {
                retry_pause(retry_after, random).max(Policy::BACKOFF_FIRST)
            }
            Verdict::Soft(Soft::Unresolved | Soft::Refused | Soft::Timeout | Soft::Broken) => {
                record.refused.reset();
                record.unreachable.next(random)
            }
            Verdict::Soft(
                Soft::Full | Soft::Pending | Soft::Rejected | Soft::Denied | Soft::Clock { .. },
            )
            | Verdict::Hard(_) => {
                record.unreachable.reset();
                record.refused.next(random)
            }
        };
        record.due = Some(now + pause);
        if verdict != Verdict::Ok {
            record.wanted = false;
        }
    }

    /// A link was made by [`crate::Action::Prepare`] and is kept.
    pub(crate) fn keep(&mut self, master: Master, now: Instant) {
        if let Some(record) = self.records.get_mut(master.0) {
            record.warm = true;
            record.warm_since.get_or_insert(now);
        }
    }

    /// A kept link closed: the master may be gone, or only tired of us.
    pub(crate) fn cooled(&mut self, master: Master, now: Instant, random: f64) {
        let Some(record) = self.records.get_mut(master.0) else { return };
        if !std::mem::take(&mut record.warm) {
            return;
        }
        if record.warm_since.take().is_some_and(|since| now >= since + Policy::FORGIVEN) {
            record.cooled.reset();
        }
        record.state = Ready::Unknown;
        record.due = Some(now + record.cooled.next(random));
    }

    /// A connection is in use: the others are looked after from now on, those never asked within
    /// a few seconds.
    pub(crate) fn connected(
        &mut self,
        current: Master,
        order: &[Master],
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        let mut at = now;
        for master in order {
            let Some(record) = self.records.get_mut(master.0) else { continue };
            if *master == current {
                (record.due, record.wanted) = (None, false);
            } else if record.due.is_none() {
                at += Policy::PREPARE_SPREAD.mul_f64(0.5 + rng.f64());
                record.due = Some(at);
            }
        }
    }

    /// The next master to sign in at, if it is time for one. `busy` are masters that are being
    /// tried for another reason.
    pub(crate) fn next_due(&self, now: Instant, busy: &[Master]) -> Option<Master> {
        let at = self.next_at(busy)?;
        (at.0 <= now).then_some(at.1)
    }

    /// When the next sign-in starts, and where.
    fn next_at(&self, busy: &[Master]) -> Option<(Instant, Master)> {
        if !self.on || self.flights.len() >= Policy::PREPARING {
            return None;
        }
        let all = self.records.iter().enumerate();
        let (due, master) = all
            .filter_map(|(position, record)| Some((record.due?, Master(position))))
            .filter(|(_, master)| !busy.contains(master))
            .filter(|(_, master)| self.flights.iter().all(|flight| flight.master != *master))
            .min()?;
        Some((self.next_start.map_or(due, |start| start.max(due)), master))
    }

    pub(crate) fn started(
        &mut self,
        attempt: Attempt,
        master: Master,
        now: Instant,
        timeout: Duration,
    ) {
        // One at a time, but a slow one does not keep the others waiting.
        self.next_start = Some(now + Policy::HEAD_START);
        let (started, deadline, warm) = (now, now + timeout, false);
        self.flights.push(Flight { attempt, master, started, took: None, deadline, warm });
    }

    /// Ends a sign-in that is under way.
    pub(crate) fn take(&mut self, attempt: Attempt, now: Instant) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.attempt == attempt)?;
        let flight = self.flights.swap_remove(at);
        if self.flights.is_empty() {
            self.next_start = Some(now.max(flight.started + Policy::PREPARE_GAP));
        }
        Some(flight)
    }

    /// The sign-in under way at this master.
    pub(crate) fn at(&self, master: Master) -> Option<Attempt> {
        self.flights.iter().find(|flight| flight.master == master).map(|flight| flight.attempt)
    }

    pub(crate) fn overdue(&self, now: Instant) -> Option<Attempt> {
        self.flights.iter().find(|flight| flight.deadline <= now).map(|flight| flight.attempt)
    }

    /// Gives up every sign-in that is under way.
    pub(crate) fn take_all(&mut self) -> Vec<Flight> {
        std::mem::take(&mut self.flights)
    }

    pub(crate) fn wake_at(&self, busy: &[Master]) -> Option<Instant> {
        let deadlines = self.flights.iter().map(|flight| flight.deadline);
        deadlines.chain(self.next_at(busy).map(|(at, _)| at)).min()
    }

    pub(crate) fn slept(&mut self, lost: Duration) {
        self.flights.iter_mut().for_each(|flight| flight.slept(lost));
    }

    /// Decides for which masters a link is kept: the first ready ones of `order` that are not
    /// `busy`. Returns those whose link is to be closed.
    pub(crate) fn settle(
        &mut self,
        busy: &[Master],
        order: &[Master],
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Vec<Master> {
        let mut room = if self.on { Policy::WARM } else { 0 };
        let mut close = Vec::new();
        for master in order {
            let Some(record) = self.records.get_mut(master.0) else { continue };
            let ready = !busy.contains(master) && record.state == Ready::Ready;
            if ready && room > 0 {
                room -= 1;
                if !record.warm && !record.wanted {
                    let soon = now + Duration::from_secs(1).mul_f64(0.5 + rng.f64());
                    record.due = Some(record.due.map_or(soon, |due| due.min(soon)));
                }
                record.wanted = true;
                continue;
            }
            record.wanted = false;
            if std::mem::take(&mut record.warm) {
                record.warm_since = None;
                close.push(*master);
            }
        }
        close
    }
}
