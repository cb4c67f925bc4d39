//! A master that does not answer in time is in doubt: a fresh connection to it is tried, and
//! beside that one to another master, which is used only when the first does not come about.

use std::time::{Duration, Instant};

use crate::election::Flight;
use crate::leave::Why;
use crate::machine::Machine;
use crate::policy::Policy;
use crate::types::{Action, Attempt, Channel, LossReason, Master, Notice, Ready, Soft, Verdict};

/// The time of doubt.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// Without a sign of life until then the master is lost.
    deadline: Instant,
    /// The same once the fresh connection has failed.
    alone: Instant,
    /// The fresh connection to the same master.
    pub(crate) fresh: Option<Flight>,
    /// The connection to another one.
    pub(crate) other: Option<Flight>,
    /// The other one is signed in and subscribed.
    pub(crate) other_ready: bool,
    /// The others that were tried.
    tried: Vec<Master>,
}

impl Doubt {
    pub(crate) fn flights(&self) -> impl Iterator<Item = &Flight> {
        self.fresh.iter().chain(&self.other)
    }

    pub(crate) fn wake_at(&self) -> Instant {
        let fresh = self.fresh.iter().map(|flight| flight.deadline);
        let other = self.other.iter().filter(|_| !self.other_ready).map(|flight| flight.deadline);
        fresh.chain(other).fold(self.deadline, Instant::min)
    }

    pub(crate) fn slept(&mut self, lost: Duration) {
        self.deadline += lost;
        self.alone += lost;
        for flight in [&mut self.fresh, &mut self.other].into_iter().flatten() {
            flight.slept(lost);
        }
    }
}

impl Machine {
    /// Nothing was heard on this channel in time.
    pub(crate) fn on_overdue(&mut self, channel: Channel, now: Instant, out: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        let heard = link.watch(channel).is_some_and(|watch| watch.was_heard());
        link.never_heard = if heard { 0 } else { link.never_heard + 1 };
        if link.never_heard >= Policy::DUMB {
            self.dumb(channel, now, out);
            return;
        }
        let (master, time, doubted) = (link.master, link.doubt_time(channel), link.doubt.is_some());
        let longest = link.watch(channel).map_or(time, |watch| watch.timing.longest_doubt());
        // With nowhere else to go, a connection that may recover is given up last.
        let only = self.candidates.len() == 1;
        // The question may have got lost, rather than the master.
        self.ask(channel, now, out);
        if doubted {
            return;
        }
        let fresh = self.new_flight(master, false, now, out);
        if let Some(link) = self.link() {
            link.doubt = Some(Doubt {
                deadline: now + if only { longest } else { time },
                alone: now + time,
                fresh: Some(fresh),
                other: None,
                other_ready: false,
                tried: Vec::new(),
            });
        }
        self.try_other(now, out);
    }

    /// The master takes fresh connections and never answers on this channel: its silence means
    /// nothing, so that it does not keep us busy. A master known to be better is tried once.
    fn dumb(&mut self, channel: Channel, now: Instant, out: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        let master = link.master;
        link.never_heard = 0;
        if let Some(watch) = link.watch(channel) {
            watch.forgive(now);
            watch.silence();
        }
        self.doubt_over(out);
        if let Some(candidate) = self.candidates.get_mut(master.0)
            && let Some(dumb) = candidate.dumb.get_mut(channel as usize)
        {
            *dumb = true;
        }
        let better = self.order.iter().copied().find(|other| {
            *other != master
                && self.standby.state(*other) == Ready::Ready
                && self.candidates.get(other.0).is_some_and(|c| c.dumb == [false; 2])
        });
        if better.is_some() {
            self.leave(better, Why::Silent, now, out);
        }
    }

    /// Tries another master beside the one in doubt: those known to be ready first.
    fn try_other(&mut self, now: Instant, out: &mut Vec<Action>) {
        let busy: Vec<Master> = self.side_flights().map(|flight| flight.master).collect();
        let ranked = self.ranked();
        let Some(link) = self.link() else { return };
        let Some(doubt) = link.doubt.as_ref().filter(|doubt| doubt.other.is_none()) else { return };
        let (tried, current) = (doubt.tried.clone(), link.master);
        let next = ranked.into_iter().find(|master| {
            *master != current
                && !tried.contains(master)
                && !busy.contains(master)
                && !matches!(self.standby.state(*master), Ready::NotReady(_))
                && self.may_be_tried(*master, now)
        });
        let Some(master) = next else { return };
        let flight = self.new_flight(master, true, now, out);
        if let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) {
            doubt.tried.push(master);
            doubt.other = Some(flight);
        }
    }

    /// Ends the doubt if every channel was heard.
    pub(crate) fn doubt_over(&mut self, out: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        if link.is_overdue() {
            return;
        }
        if let Some(doubt) = link.doubt.take() {
            for flight in doubt.flights() {
                out.push(Action::Abandon { attempt: flight.attempt });
            }
        }
    }

    pub(crate) fn doubt_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) else { return };
        if doubt.deadline <= now {
            self.on_lost(LossReason::Silent, now, out);
            return;
        }
        let late = |flight: &Flight| flight.deadline <= now;
        let fresh = doubt.fresh.as_ref().filter(|flight| late(flight));
        let other = doubt.other.as_ref().filter(|flight| !doubt.other_ready && late(flight));
        let overdue: Vec<Attempt> = fresh.into_iter().chain(other).map(|f| f.attempt).collect();
        for attempt in overdue {
            out.push(Action::Abandon { attempt });
            self.on_verdict(attempt, Verdict::Soft(Soft::Timeout), now, out);
        }
    }

    /// A verdict on one of the two; whether it was.
    pub(crate) fn doubt_verdict(
        &mut self,
        attempt: Attempt,
        verdict: Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) else { return false };
        if let Some(fresh) = doubt.fresh.take_if(|flight| flight.attempt == attempt) {
            self.fresh_verdict(&fresh, verdict, now, out);
            return true;
        }
        if doubt.other_ready {
            return false;
        }
        if verdict == Verdict::Ok {
            let Some(other) = doubt.other.as_ref().filter(|f| f.attempt == attempt) else {
                return false;
            };
            let master = other.master;
            doubt.other_ready = true;
            self.judge(master, verdict, now);
            return true;
        }
        let Some(other) = doubt.other.take_if(|flight| flight.attempt == attempt) else {
            return false;
        };
        self.judge(other.master, verdict, now);
        self.try_other(now, out);
        true
    }

    fn fresh_verdict(
        &mut self,
        fresh: &Flight,
        verdict: Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        match verdict {
            Verdict::Ok => self.refresh(fresh, now, out),
            Verdict::Soft(Soft::Busy { .. }) => {
                // It lives and has too much to do: to leave it now would only move the crowd.
                if let Some(link) = self.link() {
                    let overdue = link.watches.iter_mut().filter(|watch| watch.is_overdue());
                    overdue.for_each(|watch| watch.forgive(now));
                }
                self.doubt_over(out);
            }
            // Nothing is proved by these; something may still be heard before the time is over.
            Verdict::Soft(
                Soft::Unresolved | Soft::Timeout | Soft::Broken | Soft::Full | Soft::Clock { .. },
            ) => {
                let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) else { return };
                doubt.deadline = doubt.deadline.min(doubt.alone);
                if doubt.deadline <= now {
                    self.on_lost(LossReason::Silent, now, out);
                }
            }
            Verdict::Soft(Soft::Refused) => self.given_up(verdict, LossReason::Refused, now, out),
            Verdict::Soft(Soft::Draining { .. }) => {
                self.given_up(verdict, LossReason::Drained, now, out);
            }
            Verdict::Soft(Soft::Pending | Soft::Rejected | Soft::Denied) | Verdict::Hard(_) => {
                self.given_up(verdict, LossReason::SignedOut, now, out);
            }
        }
    }

    /// The master in doubt said no to the fresh connection.
    fn given_up(
        &mut self,
        verdict: Verdict,
        reason: LossReason,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(master) = self.link().map(|link| link.master) else { return };
        self.on_lost(reason, now, out);
        self.judge(master, verdict, now);
    }

    /// The fresh connection takes the place of the silent one: same master, no switch.
    fn refresh(&mut self, fresh: &Flight, now: Instant, out: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        let old = std::mem::replace(&mut link.attempt, fresh.attempt);
        link.watches.iter_mut().for_each(|watch| watch.renew(now));
        let doubt = link.doubt.take();
        out.push(Action::Adopt { attempt: fresh.attempt, master: fresh.master });
        for flight in doubt.iter().flat_map(Doubt::flights) {
            out.push(Action::Abandon { attempt: flight.attempt });
        }
        out.push(Action::Disconnect { attempt: old, reason: LossReason::Refreshed });
        out.push(Action::Notify(Notice::Refreshed(fresh.master)));
    }

    /// The connection held ready beside the one in doubt broke.
    pub(crate) fn other_lost(&mut self, attempt: Attempt, now: Instant, out: &mut Vec<Action>) {
        let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) else { return };
        let ready = doubt.other_ready;
        let Some(other) = doubt.other.take_if(|f| ready && f.attempt == attempt) else { return };
        doubt.other_ready = false;
        out.push(Action::Abandon { attempt });
        self.judge(other.master, Verdict::Soft(Soft::Broken), now);
        self.try_other(now, out);
    }
}
