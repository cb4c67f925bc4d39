//! One round over the masters: who is being tried, who is next, and what each said.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::policy::Policy;
use crate::types::{Attempt, Master, Soft, Verdict};

/// A try under way.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) attempt: Attempt,
    pub(crate) master: Master,
    pub(crate) deadline: Instant,
}

/// One round.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    queue: VecDeque<Master>,
    pub(crate) flights: Vec<Flight>,
    starts: u32,
    next_start: Instant,
}

impl Election {
    pub(crate) fn new(queue: VecDeque<Master>, now: Instant) -> Self {
        Election { queue, flights: Vec::new(), starts: 0, next_start: now }
    }

    /// The next master to try, if its turn has come.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Master> {
        if now < self.next_start {
            return None;
        }
        self.queue.pop_front()
    }

    pub(crate) fn started(&mut self, flight: Flight, now: Instant) {
        let alone = if self.starts == 0 { Policy::HEAD_START } else { Policy::NEXT_START };
        self.starts += 1;
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
        self.flights.iter().map(|flight| flight.deadline).chain(start).min()
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
}

impl Candidate {
    /// Draws the conclusion of a verdict that came at `now`.
    pub(crate) fn judge(&mut self, verdict: &Verdict, policy: &Policy, now: Instant) {
        self.pending = *verdict == Verdict::Soft(Soft::Pending);
        match verdict {
            Verdict::Soft(Soft::Pending | Soft::Rejected | Soft::Full) => {
                // A person has to act there; asking every second would only fill its log.
                let first = policy.acceptance_wait.max(Duration::from_secs(1));
                let wait = match self.wait {
                    None => first,
                    Some(last) => (last * 2).min(policy.acceptance_wait_max).max(first),
                };
                self.wait = Some(wait);
                self.not_before = Some(now + wait);
            }
            Verdict::Ok => *self = Candidate::default(),
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
