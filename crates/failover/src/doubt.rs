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
    channel: Channel,
    /// Without a sign of life until then the master is lost.
    deadline: Instant,
    /// The same if the master is heard on its other channel meanwhile, so that only the way may be
    /// bad; on a good one that is no later.
    patient: Instant,
    /// Fresh connections to the same master: one, and on a bad way a second.
    pub(crate) fresh: Vec<Flight>,
    /// When one more fresh connection is tried: soon after the last one failed, and where that may
    /// take long, while it is still under way.
    again: Instant,
    /// The connection to another one.
    pub(crate) other: Option<Flight>,
    /// The other one is signed in and subscribed.
    pub(crate) other_ready: bool,
    /// The others that were tried.
    tried: Vec<Master>,
    /// The master was heard on the other channel.
    heard: bool,
}

impl Doubt {
    pub(crate) fn flights(&self) -> impl Iterator<Item = &Flight> {
        self.fresh.iter().chain(&self.other)
    }

    pub(crate) fn wake_at(&self) -> Instant {
        let again = (self.fresh.len() < Policy::FRESH).then_some(self.again);
        let other = self.other.iter().filter(|_| !self.other_ready);
        let deadlines = self.fresh.iter().chain(other).map(|flight| flight.deadline);
        deadlines.chain(again).fold(self.limit(), Instant::min)
    }

    fn limit(&self) -> Instant {
        if self.heard { self.deadline.max(self.patient) } else { self.deadline }
    }

    pub(crate) fn slept(&mut self, lost: Duration) {
        self.deadline += lost;
        self.patient += lost;
        for flight in self.fresh.iter_mut().chain(&mut self.other) {
            flight.slept(lost);
        }
    }
}

impl Machine {
    /// Nothing was heard on this channel in time.
    pub(crate) fn on_overdue(&mut self, channel: Channel, now: Instant, out: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        if link.watch(channel).is_some_and(|watch| watch.never_heard()) {
            self.dumb(channel, now, out);
            return;
        }
        let (master, doubted) = (link.master, link.doubt.is_some());
        let (time, patient) = (link.doubt_time(channel), link.patient_time(channel));
        // The question may have got lost, rather than the master.
        self.ask(channel, now, out);
        if doubted {
            return;
        }
        let fresh = self.new_flight(master, false, now, out);
        // With nowhere else to go, a connection that may recover is given up last.
        let only = self.candidates.len() == 1;
        if let Some(link) = self.link() {
            let longest = link.watch(channel).map_or(time, |watch| watch.timing.longest_doubt());
            link.doubt = Some(Doubt {
                channel,
                deadline: now + if only { longest } else { time },
                patient: now + patient,
                fresh: vec![fresh],
                again: now + if time < Policy::BAD_WAY { longest } else { time / 4 },
                other: None,
                other_ready: false,
                tried: Vec::new(),
                heard: false,
            });
        }
        self.try_other(now, out);
    }

    /// The master takes fresh connections and never answers on this channel: its silence means
    /// nothing, so that it does not keep us busy. A master known to be better is tried once.
    fn dumb(&mut self, channel: Channel, now: Instant, out: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        let master = link.master;
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

    /// Something was heard on this channel: ends the doubt if nothing is missing any more.
    pub(crate) fn doubt_heard(&mut self, channel: Channel, out: &mut Vec<Action>) {
        if let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) {
            doubt.heard |= doubt.channel != channel;
        }
        self.doubt_over(out);
    }

    fn doubt_over(&mut self, out: &mut Vec<Action>) {
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
        let Some(link) = self.link() else { return };
        let master = link.master;
        let Some(doubt) = &link.doubt else { return };
        if doubt.limit() <= now {
            self.on_lost(LossReason::Silent, now, out);
            return;
        }
        let late = |flight: &Flight| flight.deadline <= now;
        let other = doubt.other.iter().filter(|_| !doubt.other_ready);
        let flights = doubt.fresh.iter().chain(other).filter(|flight| late(flight));
        let overdue: Vec<Attempt> = flights.map(|flight| flight.attempt).collect();
        for attempt in overdue {
            out.push(Action::Abandon { attempt });
            self.on_verdict(attempt, Verdict::Soft(Soft::Timeout), now, out);
        }
        self.fresh_again(master, now, out);
    }

    fn fresh_again(&mut self, master: Master, now: Instant, out: &mut Vec<Action>) {
        let Some(doubt) = self.link().and_then(|link| link.doubt.as_ref()) else { return };
        if doubt.fresh.len() >= Policy::FRESH || doubt.again > now {
            return;
        }
        let fresh = self.new_flight(master, false, now, out);
        if let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) {
            doubt.fresh.push(fresh);
            // Not a third one before one of these has failed.
            doubt.again = now + Policy::PATIENCE_CEILING;
        }
    }

    /// A verdict on one of these tries; whether it was.
    pub(crate) fn doubt_verdict(
        &mut self,
        attempt: Attempt,
        verdict: Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) else { return false };
        if let Some(at) = doubt.fresh.iter().position(|flight| flight.attempt == attempt) {
            let fresh = doubt.fresh.swap_remove(at);
            self.fresh_verdict(&fresh, verdict, now, out);
            return true;
        }
        if doubt.other_ready {
            return false;
        }
        if verdict == Verdict::Ok {
            let Some(other) = doubt.other.as_mut().filter(|f| f.attempt == attempt) else {
                return false;
            };
            other.took = Some(now.saturating_duration_since(other.started));
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
                // It lives and has too much to do: to leave it now would only move the crowd. But a
                // subscription that stays silent brings no jobs, however alive the master is.
                let elsewhere = self.candidates.len() > 1;
                if let Some(link) = self.link() {
                    let deaf = link.watch(Channel::Publications).is_some_and(|w| w.is_overdue());
                    link.deaf += u32::from(deaf);
                    if link.deaf > 1 && elsewhere {
                        self.given_up(verdict, LossReason::Silent, now, out);
                        return;
                    }
                }
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
                if let Some(doubt) = self.link().and_then(|link| link.doubt.as_mut()) {
                    doubt.again = now.max(fresh.started + Policy::FRESH_AGAIN);
                }
            }
            Verdict::Soft(Soft::Refused) => self.given_up(verdict, LossReason::Refused, now, out),
            Verdict::Soft(Soft::Draining { .. }) => {
                self.given_up(verdict, LossReason::Drained, now, out);
            }
            Verdict::Soft(Soft::Pending | Soft::Rejected | Soft::Denied) => {
                self.given_up(verdict, LossReason::SignedOut, now, out);
            }
            Verdict::Hard(_) => self.given_up(verdict, LossReason::Untrusted, now, out),
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
        let took = now.saturating_duration_since(fresh.started);
        link.watches.iter_mut().for_each(|watch| watch.renew(took, now));
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
