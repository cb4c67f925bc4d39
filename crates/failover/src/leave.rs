//! Leaving on purpose: another master takes us first, then the one in use is let go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::election::Flight;
use crate::machine::{Machine, State};
use crate::policy::Policy;
use crate::types::{Action, Attempt, LeaveReason, LossReason, Master, Notice, Soft, Verdict};

/// Why we want away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// An operator or the master asked for it.
    Told(LeaveReason),
    /// The master is mute on one of its channels, and another one is known to be better.
    Silent,
}

/// A move that is under way: one try at a time, or a pause before they begin anew.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) to: Option<Master>,
    why: Why,
    pub(crate) flight: Option<Flight>,
    queue: VecDeque<Master>,
    again: Instant,
    last: Option<Verdict>,
}

impl Leaving {
    pub(crate) fn wake_at(&self) -> Instant {
        self.flight.as_ref().map_or(self.again, |flight| flight.deadline)
    }

    pub(crate) fn slept(&mut self, lost: Duration) {
        if let Some(flight) = &mut self.flight {
            flight.slept(lost);
        }
    }
}

impl Machine {
    /// Moves to another master. To the one in use means to stay there, which ends a move under
    /// way. Without a connection it only says where to look first.
    pub(crate) fn leave(
        &mut self,
        to: Option<Master>,
        why: Why,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let known = to.is_none_or(|to| to.0 < self.policy.masters.len());
        if !known && why == Why::Told(LeaveReason::Asked) {
            out.push(Action::Notify(Notice::LeaveFailed { to, verdict: None }));
            return;
        }
        let to = to.filter(|_| known);
        let Some(link) = self.link() else {
            if let Some(to) = to {
                self.look_first(to, now, out);
            }
            return;
        };
        let current = link.master;
        let before = link.leaving.take().and_then(|leaving| leaving.flight);
        out.extend(before.map(|flight| Action::Abandon { attempt: flight.attempt }));
        if to == Some(current) {
            return;
        }
        let last = None;
        let queue = self.destinations(to, why, current, now);
        if let Some(link) = self.link() {
            link.leaving = Some(Leaving { to, why, flight: None, queue, again: now, last });
        }
        self.next_destination(now, out);
    }

    fn look_first(&mut self, to: Master, now: Instant, out: &mut Vec<Action>) {
        self.prefer(to);
        if let Some(candidate) = self.candidates.get_mut(to.0) {
            candidate.not_before = None;
        }
        if let State::Searching(election) = &mut self.state {
            election.prefer(to);
            self.advance(now, out);
        }
    }

    /// Where to go, in this order: where we were told to at any rate; else, or if that fails while
    /// the master is being emptied, to any other that is not known to send us away.
    fn destinations(
        &self,
        to: Option<Master>,
        why: Why,
        current: Master,
        now: Instant,
    ) -> VecDeque<Master> {
        let mut queue: VecDeque<Master> = to.into_iter().collect();
        if to.is_none() || why == Why::Told(LeaveReason::Drain) {
            let others = self.ranked().into_iter();
            queue.extend(others.filter(|master| {
                *master != current && Some(*master) != to && self.may_be_tried(*master, now)
            }));
        }
        queue
    }

    fn next_destination(&mut self, now: Instant, out: &mut Vec<Action>) {
        let random = self.rng.f64();
        let Some(link) = self.link() else { return };
        let Some(leaving) = &mut link.leaving else { return };
        if let Some(master) = leaving.queue.pop_front() {
            let flight = self.new_flight(master, true, now, out);
            if let Some(leaving) = self.link().and_then(|link| link.leaving.as_mut()) {
                leaving.flight = Some(flight);
            }
            return;
        }
        match leaving.why {
            Why::Told(LeaveReason::Drain) => {
                leaving.again = now + Policy::LEAVE_AGAIN.mul_f64(1.0 + random);
            }
            Why::Told(LeaveReason::Asked) => {
                let (to, verdict) = (leaving.to, leaving.last);
                link.leaving = None;
                out.push(Action::Notify(Notice::LeaveFailed { to, verdict }));
            }
            Why::Silent => link.leaving = None,
        }
    }

    pub(crate) fn leave_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        let current = link.master;
        let Some(leaving) = &link.leaving else { return };
        if leaving.wake_at() > now {
            return;
        }
        if let Some(flight) = &leaving.flight {
            let attempt = flight.attempt;
            out.push(Action::Abandon { attempt });
            self.on_verdict(attempt, Verdict::Soft(Soft::Timeout), now, out);
            return;
        }
        let (to, why) = (leaving.to, leaving.why);
        let queue = self.destinations(to, why, current, now);
        if let Some(leaving) = self.link().and_then(|link| link.leaving.as_mut()) {
            leaving.queue = queue;
        }
        self.next_destination(now, out);
    }

    /// A verdict on the try to move; whether it was.
    pub(crate) fn leave_verdict(
        &mut self,
        attempt: Attempt,
        verdict: Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(link) = self.link() else { return false };
        let old = link.master;
        let Some(leaving) = &mut link.leaving else { return false };
        let Some(flight) = leaving.flight.take_if(|flight| flight.attempt == attempt) else {
            return false;
        };
        leaving.last = Some(verdict);
        let why = leaving.why;
        self.judge(flight.master, verdict, now);
        if verdict != Verdict::Ok {
            self.next_destination(now, out);
            return true;
        }
        let reason = match why {
            Why::Told(LeaveReason::Asked) => LossReason::Asked,
            Why::Told(LeaveReason::Drain) => LossReason::Drained,
            Why::Silent => LossReason::Silent,
        };
        self.demote(old);
        // What an operator wants lasts until the next loss; failback would undo it.
        self.sent_away = reason == LossReason::Asked;
        self.replace(&flight, reason, now, out);
        if reason == LossReason::Drained {
            let retry_after = Policy::DRAINED;
            // Asked last, but not never: it did not say for how long, and the others may die.
            let draining = Verdict::Soft(Soft::Draining { retry_after });
            self.standby.learn(old, draining, now, self.rng.f64());
        }
        true
    }
}
