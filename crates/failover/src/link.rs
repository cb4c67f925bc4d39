//! The connection in use: how it comes about, what is tried beside it, how it ends.

use std::time::{Duration, Instant};

use crate::doubt::Doubt;
use crate::election::Flight;
use crate::failback::Failback;
use crate::leave::Leaving;
use crate::machine::{Machine, State};
use crate::policy::{Policy, Timing};
use crate::probe::{Want, Watch};
use crate::types::{
    Action, Attempt, Channel, Hard, LossReason, Master, Notice, Probe, ProbeResult, Soft, Switch,
    Verdict,
};

/// The connection in use, the watches over it, and what goes on beside it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) attempt: Attempt,
    pub(crate) master: Master,
    pub(crate) since: Instant,
    pub(crate) watches: Vec<Watch>,
    pub(crate) doubt: Option<Doubt>,
    /// How often in a row the subscription was silent while the master was too busy for another.
    pub(crate) deaf: u32,
    pub(crate) failback: Option<Failback>,
    pub(crate) leaving: Option<Leaving>,
}

/// The master that was left, until another one is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departed {
    master: Master,
    reason: LossReason,
    /// Since when there is none.
    since: Option<Instant>,
}

impl Link {
    pub(crate) fn watch(&mut self, channel: Channel) -> Option<&mut Watch> {
        self.watches.iter_mut().find(|watch| watch.channel == channel)
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.watches.iter().any(Watch::is_overdue)
    }

    /// How long a fresh connection may take when this channel is silent. Either channel may know
    /// better how slow the way is.
    pub(crate) fn doubt_time(&self, channel: Channel) -> Duration {
        let fit = self.watches.iter().map(Watch::doubt_fit).max().unwrap_or_default();
        let watch = self.watches.iter().find(|watch| watch.channel == channel);
        watch.map_or(Policy::DOUBT_FLOOR, |watch| watch.timing.doubt_time(fit))
    }

    /// The same when the master is known to live: so long that even a bad way is gone.
    pub(crate) fn patient_time(&self, channel: Channel) -> Duration {
        let fit = self.watches.iter().map(Watch::patient_fit).max().unwrap_or_default();
        let watch = self.watches.iter().find(|watch| watch.channel == channel);
        watch.map_or(Policy::DOUBT_FLOOR, |watch| watch.timing.doubt_time(fit))
    }

    pub(crate) fn flights(&self) -> impl Iterator<Item = &Flight> {
        let doubt = self.doubt.iter().flat_map(Doubt::flights);
        let failback = self.failback.iter().filter_map(|failback| failback.flight.as_ref());
        let leaving = self.leaving.iter().filter_map(|leaving| leaving.flight.as_ref());
        doubt.chain(failback).chain(leaving)
    }

    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let watches = self.watches.iter().filter_map(Watch::wake_at);
        let doubt = self.doubt.iter().map(Doubt::wake_at);
        let failback = self.failback.iter().map(Failback::wake_at);
        let leaving = self.leaving.iter().map(Leaving::wake_at);
        watches.chain(doubt).chain(failback).chain(leaving).min()
    }

    /// This process slept for `lost`, and just woke up.
    pub(crate) fn slept(&mut self, lost: Duration, now: Instant) {
        self.watches.iter_mut().for_each(|watch| watch.slept(now));
        if let Some(doubt) = &mut self.doubt {
            doubt.slept(lost);
        }
        if let Some(failback) = &mut self.failback {
            failback.slept(lost);
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.slept(lost);
        }
    }
}

impl Machine {
    pub(crate) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Connected(link) => Some(link),
            _ => None,
        }
    }

    pub(crate) fn linked(&mut self, attempt: Attempt) -> Option<&mut Link> {
        self.link().filter(|link| link.attempt == attempt)
    }

    /// Tries under way beside the connection in use.
    pub(crate) fn side_flights(&self) -> impl Iterator<Item = &Flight> {
        match &self.state {
            State::Connected(link) => Some(link),
            _ => None,
        }
        .into_iter()
        .flat_map(|link| link.flights())
    }

    /// From now on this is the connection in use.
    pub(crate) fn adopt(&mut self, flight: &Flight, now: Instant, out: &mut Vec<Action>) {
        out.push(Action::Adopt { attempt: flight.attempt, master: flight.master });
        out.push(Action::Notify(Notice::Connected(flight.master)));
        self.note_switch(flight.master, now, out);
        // How long the way here took says how far it is: about so many times there and back.
        let steps = if flight.warm { 3 } else { 6 };
        let took = flight.took.unwrap_or(now.saturating_duration_since(flight.started));
        let guess = took / steps;
        let guess = guess.min(Duration::from_millis(700));
        let candidate = self.candidates.get(flight.master.0);
        let (dumb, pace) = candidate.map(|c| (c.dumb, c.pace)).unwrap_or_default();
        let mut watches = Vec::with_capacity(2);
        for channel in [Channel::Publications, Channel::Requests] {
            let Some(timing) = Timing::paced(&self.policy, channel, pace) else { continue };
            let mut watch = Watch::new(channel, timing, guess, now, self.rng.f64());
            if dumb.get(channel as usize).copied().unwrap_or_default() {
                watch.silence();
            }
            watches.push(watch);
        }
        let away = flight.master != Master(0) && !self.sent_away;
        let failback = self.policy.failback_interval.filter(|_| away);
        self.state = State::Connected(Box::new(Link {
            attempt: flight.attempt,
            master: flight.master,
            since: now,
            watches,
            doubt: None,
            deaf: 0,
            failback: failback.map(|interval| Failback::new(interval, now)),
            leaving: None,
        }));
        self.sent_away = false;
        self.standby.learn(flight.master, Verdict::Ok, now, self.rng.f64());
        self.standby.connected(flight.master, &self.order, now, &mut self.rng);
    }

    fn note_switch(&mut self, to: Master, now: Instant, out: &mut Vec<Action>) {
        let Some(departed) = self.departed.take() else { return };
        let (from, reason) = (Some(departed.master), departed.reason);
        if departed.master == to {
            return;
        }
        let gap = departed.since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.last_switch = Some(Switch { at: now, from, to, reason, gap });
        out.push(Action::Notify(Notice::Switched { from, to, reason, gap }));
    }

    /// The connection in use is gone, or given up.
    pub(crate) fn on_lost(&mut self, reason: LossReason, now: Instant, out: &mut Vec<Action>) {
        let State::Connected(mut link) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let master = link.master;
        let settled = now >= link.since + Policy::SETTLED;
        self.demote(master);
        let slow = !settled && self.early_losses.too_many(now);
        if !slow {
            self.backoff.reset();
        }
        if !settled && let Some(candidate) = self.candidates.get_mut(master.0) {
            let pause = if slow { self.backoff.next(self.rng.f64()) } else { Policy::BREATH };
            candidate.not_before = Some(now + pause);
        }
        let what = match reason {
            LossReason::Silent => Verdict::Soft(Soft::Timeout),
            LossReason::Refused => Verdict::Soft(Soft::Refused),
            LossReason::SignedOut => Verdict::Soft(Soft::Rejected),
            LossReason::Untrusted => Verdict::Hard(Hard::UntrustedKey),
            _ => Verdict::Soft(Soft::Broken),
        };
        self.standby.learn(master, what, now, self.rng.f64());
        let silent = link.watches.iter().filter_map(Watch::silent_since).min();
        let since = silent.filter(|_| reason == LossReason::Silent).unwrap_or(now);
        self.departed = Some(Departed { master, reason, since: Some(since) });
        out.push(Action::Disconnect { attempt: link.attempt, reason });
        out.push(Action::Notify(Notice::Disconnected(master)));
        self.hurry(&mut link, reason, now, out);
    }

    /// After a loss: uses what is at hand already, else begins a round with what is under way.
    fn hurry(&mut self, link: &mut Link, reason: LossReason, now: Instant, out: &mut Vec<Action>) {
        let wish = link.leaving.as_ref().and_then(|leaving| leaving.to);
        let mut flights: Vec<Flight> = Vec::new();
        if let Some(doubt) = link.doubt.take() {
            if let (Some(other), true) = (&doubt.other, doubt.other_ready) {
                for flight in doubt.fresh.iter().chain(link.flights()) {
                    out.push(Action::Abandon { attempt: flight.attempt });
                }
                self.prefer(other.master);
                self.adopt(other, now, out);
                return;
            }
            // A master whose connection broke is not the first to be tried again.
            let keep = reason == LossReason::Silent;
            if keep {
                flights.extend(doubt.fresh);
            } else {
                out.extend(doubt.fresh.iter().map(|f| Action::Abandon { attempt: f.attempt }));
            }
            flights.extend(doubt.other);
        }
        flights.extend(link.flights().cloned());
        // One master is tried once, and nobody whose time is over.
        let mut kept: Vec<Flight> = Vec::new();
        for flight in flights {
            if flight.deadline <= now || kept.iter().any(|k| k.master == flight.master) {
                out.push(Action::Abandon { attempt: flight.attempt });
            } else {
                kept.push(flight);
            }
        }
        self.begin_round(kept, wish, now, out);
    }

    /// Puts another connection in the place of the one in use; the new one comes first, so there
    /// is no moment without a master.
    pub(crate) fn replace(
        &mut self,
        next: &Flight,
        reason: LossReason,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let State::Connected(link) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        for flight in link.flights() {
            out.push(Action::Abandon { attempt: flight.attempt });
        }
        self.prefer(next.master);
        self.departed = Some(Departed { master: link.master, reason, since: None });
        self.adopt(next, now, out);
        out.push(Action::Disconnect { attempt: link.attempt, reason });
    }

    pub(crate) fn on_probed(
        &mut self,
        probe: Probe,
        result: ProbeResult,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(link) = self.link() else { return };
        if let Some(failback) = &mut link.failback
            && failback.answered(probe, result == ProbeResult::Alive)
        {
            self.failback_wake(now, out);
            return;
        }
        let mut lost = None;
        let mut heard = None;
        for watch in &mut link.watches {
            match watch.on_result(probe, result, now) {
                Want::Lost(reason) => lost = Some(reason),
                Want::Heard => heard = Some(watch.channel),
                Want::Nothing | Want::Ask { .. } | Want::Doubt => {}
            }
        }
        if let Some(reason) = lost {
            self.on_lost(reason, now, out);
        }
        if let Some(channel) = heard {
            self.doubt_heard(channel, out);
        }
        self.watches_wake(now, out);
    }

    /// Asks what is due on both channels.
    pub(crate) fn watches_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        for channel in [Channel::Publications, Channel::Requests] {
            let Some(watch) = self.link().and_then(|link| link.watch(channel)) else { continue };
            match watch.on_wake(now) {
                Want::Nothing | Want::Heard => {}
                Want::Ask { .. } => self.ask(channel, now, out),
                Want::Lost(reason) => self.on_lost(reason, now, out),
                Want::Doubt => self.on_overdue(channel, now, out),
            }
        }
    }

    /// Asks one question over the connection in use.
    pub(crate) fn ask(&mut self, channel: Channel, now: Instant, out: &mut Vec<Action>) {
        let probe = Probe(self.new_id());
        let Some(link) = self.link() else { return };
        let (master, attempt) = (link.master, Some(link.attempt));
        let Some(watch) = link.watch(channel) else { return };
        let (authenticated, deadline) = (watch.next_proves(), watch.patience());
        watch.asked(probe, now);
        out.push(Action::Probe { probe, attempt, master, channel, authenticated, deadline });
    }
}
