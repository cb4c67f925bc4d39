//! One round over the masters: who is being tried, who is next, and what each said.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::policy::{Pace, Policy};
use crate::types::{Attempt, Master, Soft, Verdict};

/// A try under way.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) attempt: Attempt,
    pub(crate) master: Master,
    pub(crate) started: Instant,
    /// How long it took, once it has succeeded and is not used yet.
    pub(crate) took: Option<Duration>,
    pub(crate) deadline: Instant,
    /// Only the subscription is left to do.
    pub(crate) warm: bool,
}

impl Flight {
    /// This process slept for `lost`: the try shall not suffer for it.
    pub(crate) fn slept(&mut self, lost: Duration) {
        self.deadline += lost;
    }
}

/// One round.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    queue: VecDeque<Master>,
    pub(crate) flights: Vec<Flight>,
    starts: u32,
    began: Instant,
    next_start: Instant,
    /// Who may be tried (again) from when on, as long as others keep the round from ending: one
    /// that hangs must not hide that another has come back.
    later: Vec<(Instant, Master)>,
}

impl Election {
    /// A round that inherits tries already under way. The next one starts at once if those have
    /// had their time alone.
    pub(crate) fn with_flights(
        mut queue: VecDeque<Master>,
        flights: Vec<Flight>,
        now: Instant,
    ) -> Self {
        queue.retain(|master| flights.iter().all(|flight| flight.master != *master));
        let alone = flights.iter().map(|flight| flight.started + Policy::HEAD_START).min();
        let next_start = alone.unwrap_or(now).max(now);
        let starts = u32::try_from(flights.len()).unwrap_or(u32::MAX);
        Election { queue, flights, starts, began: now, next_start, later: Vec::new() }
    }

    /// Somebody wants this master to be the next, if it is still to be tried.
    pub(crate) fn prefer(&mut self, master: Master) {
        if self.flights.iter().all(|flight| flight.master != master) {
            self.queue.retain(|m| *m != master);
            self.queue.push_front(master);
        }
    }

    /// This process slept for `lost`.
    pub(crate) fn slept(&mut self, lost: Duration) {
        self.flights.iter_mut().for_each(|flight| flight.slept(lost));
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// This master may be tried from then on.
    pub(crate) fn again(&mut self, master: Master, at: Instant) {
        self.later.retain(|(_, known)| *known != master);
        self.later.push((at, master));
    }

    fn recall(&mut self, now: Instant) {
        let due: Vec<Master> =
            self.later.iter().filter(|(at, _)| *at <= now).map(|(_, master)| *master).collect();
        self.later.retain(|(at, _)| *at > now);
        for master in due {
            let flying = self.flights.iter().any(|flight| flight.master == master);
            if !flying && !self.queue.contains(&master) {
                self.queue.push_back(master);
            }
        }
    }

    /// The next master to try, if its turn has come.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Master> {
        if !self.is_over() {
            self.recall(now);
        }
        if now < self.next_start {
            return None;
        }
        self.queue.pop_front()
    }

    pub(crate) fn started(&mut self, flight: Flight, now: Instant) {
        let alone = if self.starts == 0 { Policy::HEAD_START } else { Policy::NEXT_START };
        self.starts = self.starts.saturating_add(1);
        self.next_start = now + alone;
        self.flights.push(flight);
    }

    /// Ends a flight; the next candidate need not wait any longer.
    pub(crate) fn ended(&mut self, attempt: Attempt, now: Instant) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.attempt == attempt)?;
        self.next_start = now;
        Some(self.flights.remove(at))
    }

    /// A flight whose time is over.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Attempt> {
        self.flights.iter().find(|flight| flight.deadline <= now).map(|flight| flight.attempt)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.queue.is_empty() && self.flights.is_empty()
    }

    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let start = (!self.queue.is_empty()).then_some(self.next_start);
        let later = self.later.iter().map(|(at, _)| *at).filter(|_| !self.is_over());
        self.flights.iter().map(|flight| flight.deadline).chain(start).chain(later).min()
    }
}

/// What we remember of a master between rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidate {
    /// Not to be asked before this moment.
    pub(crate) not_before: Option<Instant>,
    wait: Option<Duration>,
    /// It answered last that our key waits for acceptance.
    pub(crate) pending: bool,
    /// The channels that never answer here although the master lives.
    pub(crate) dumb: [bool; 2],
    /// How often it wants to be asked.
    pub(crate) pace: Pace,
}

impl Candidate {
    /// Draws the conclusion of a verdict that came at `now`. `random` in `0.0..1.0` spreads those
    /// who were sent away in the same moment.
    pub(crate) fn judge(&mut self, verdict: &Verdict, policy: &Policy, now: Instant, random: f64) {
        self.pending = *verdict == Verdict::Soft(Soft::Pending);
        match verdict {
            Verdict::Soft(Soft::Pending | Soft::Rejected | Soft::Denied | Soft::Full) => {
                // A person has to act there; asking every second would only fill its log.
                let first = policy.acceptance_wait.max(Duration::from_secs(1));
                let wait = match self.wait {
                    None => first,
                    Some(last) => (last * 2).min(policy.acceptance_wait_max).max(first),
                };
                self.wait = Some(wait);
                self.not_before = Some(now + wait);
            }
            Verdict::Soft(Soft::Busy { retry_after } | Soft::Draining { retry_after }) => {
                self.wait = None;
                self.not_before = Some(now + retry_pause(*retry_after, random));
            }
            Verdict::Ok => {
                *self = Candidate { dumb: self.dumb, pace: self.pace, ..Candidate::default() }
            }
            Verdict::Soft(_) | Verdict::Hard(_) => {
                self.wait = None;
                self.not_before = None;
            }
        }
    }

    pub(crate) fn may_be_tried(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }
}

/// When a master that sent us away is asked again: not before it said, and spread over a quarter
/// more.
pub(crate) fn retry_pause(retry_after: Duration, random: f64) -> Duration {
    let least = Duration::from_millis(100);
    retry_after.clamp(least, Policy::RETRY_AFTER_MAX).mul_f64(1.0 + 0.25 * random.clamp(0.0, 1.0))
}
