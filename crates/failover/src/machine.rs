//! The machine: inputs in, actions out. What each state does is in the files named after it.

use std::time::{Duration, Instant};

use saltern_base::backoff::Backoff;

use crate::election::{Candidate, Election};
use crate::leave::Why;
use crate::link::{Departed, Link};
use crate::order::initial_order;
use crate::policy::{Pace, Policy, Timing};
use crate::probe::Watch;
use crate::standby::Standby;
use crate::types::{
    Action, Attempt, Channel, Input, LossReason, Master, Notice, Readiness, Ready, Soft, Status,
    Switch, Verdict,
};

#[derive(Debug)]
pub(crate) enum State {
    Idle,
    Searching(Election),
    Waiting { until: Instant, pending: bool },
    Connected(Box<Link>),
}

/// Decides which master a minion uses (`master_type` failover and distributed), or keeps the
/// connection to one (each hot master, or the only one).
#[derive(Debug)]
pub struct Machine {
    pub(crate) policy: Policy,
    pub(crate) rng: fastrand::Rng,
    pub(crate) order: Vec<Master>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) standby: Standby,
    pub(crate) backoff: Backoff,
    pub(crate) early_losses: EarlyLosses,
    pub(crate) departed: Option<Departed>,
    pub(crate) last_switch: Option<Switch>,
    /// The next connection is where an operator wants us: no failback from there.
    pub(crate) sent_away: bool,
    pub(crate) state: State,
    next_id: u64,
    /// Sleeps of this process that came one after the other.
    sleeps: u32,
    /// When the last input came: until then it was awake.
    awake: Option<Instant>,
    /// What was last said of each master, to tell changes from repetition.
    told: Vec<Ready>,
}

/// Connections that broke soon after they were made.
#[derive(Debug, Default)]
pub(crate) struct EarlyLosses {
    count: u32,
    last: Option<Instant>,
}

impl EarlyLosses {
    /// Counts one more; whether there are so many that they have to be slowed down.
    pub(crate) fn too_many(&mut self, now: Instant) -> bool {
        if self.last.is_none_or(|last| now >= last + Policy::FORGIVEN) {
            self.count = 0;
        }
        self.last = Some(now);
        self.count = self.count.saturating_add(1);
        self.count > Policy::EARLY_LOSSES
    }
}

impl Machine {
    /// A machine at rest. Equal generators and equal inputs give equal actions.
    #[must_use]
    pub fn new(policy: Policy, mut rng: fastrand::Rng) -> Self {
        let policy = policy.bounded();
        let order = initial_order(&policy, &mut rng);
        Machine {
            order,
            candidates: vec![Candidate::default(); policy.masters.len()],
            standby: Standby::new(&policy),
            backoff: Backoff::new(Policy::BACKOFF_FIRST, policy.backoff_max()),
            early_losses: EarlyLosses::default(),
            departed: None,
            last_switch: None,
            sent_away: false,
            state: State::Idle,
            next_id: 0,
            sleeps: 0,
            awake: None,
            told: vec![Ready::Unknown; policy.masters.len()],
            policy,
            rng,
        }
    }

    /// The name of a master as configured; empty for a number that is none.
    #[must_use]
    pub fn name(&self, master: Master) -> &str {
        self.policy.masters.get(master.0).map_or("", String::as_str)
    }

    /// The order in which masters are tried next, among those of which equally much is known.
    #[must_use]
    pub fn order(&self) -> &[Master] {
        &self.order
    }

    /// Where the machine stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.state {
            State::Idle => Status::Idle,
            State::Searching(_) => Status::Searching,
            State::Waiting { until, pending } => {
                Status::Waiting { until: *until, pending: *pending }
            }
            State::Connected(link) => {
                Status::Connected { master: link.master, attempt: link.attempt, since: link.since }
            }
        }
    }

    /// What is known of each master, in configured order: could we be there at once?
    #[must_use]
    pub fn readiness(&self) -> Vec<Readiness> {
        let current = self.current();
        let overlay = |mut known: Readiness| {
            if Some(known.master) == current {
                known.state = Ready::Current;
            }
            known
        };
        self.standby.readiness().map(overlay).collect()
    }

    /// How often this master wants to be asked, as its last sign-in said; a connection in use is
    /// asked by it from the next question on.
    pub fn pace(&mut self, master: Master, pace: Pace) {
        let Some(candidate) = self.candidates.get_mut(master.0) else { return };
        if std::mem::replace(&mut candidate.pace, pace) == pace {
            return;
        }
        if let State::Connected(link) = &mut self.state
            && link.master == master
        {
            for watch in &mut link.watches {
                if let Some(timing) = Timing::paced(&self.policy, watch.channel, pace) {
                    watch.timing = timing;
                }
            }
        }
    }

    /// How long the master in use takes to answer, smoothed; `None` before the first answer.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let State::Connected(link) = &self.state else { return None };
        let of = |channel| link.watches.iter().find(|w| w.channel == channel)?.latency();
        of(Channel::Requests).or_else(|| of(Channel::Publications))
    }

    /// Whether the master in use is in doubt: it did not answer in time, and is given a last one.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        matches!(&self.state, State::Connected(link) if link.doubt.is_some())
    }

    /// The last change of the master in use.
    #[must_use]
    pub fn last_switch(&self) -> Option<Switch> {
        self.last_switch
    }

    fn current(&self) -> Option<Master> {
        match &self.state {
            State::Connected(link) => Some(link.master),
            _ => None,
        }
    }

    /// When [`Input::Wake`] is due, if nothing else happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Searching(election) => election.wake_at(),
            State::Waiting { until, .. } => Some(*until),
            State::Connected(link) => {
                let standby = self.standby.wake_at(&self.busy());
                link.wake_at().into_iter().chain(standby).min()
            }
        }
    }

    /// Takes an input that came at `now` and says what is to be done, in this order.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        self.notice_sleep(now, matches!(input, Input::Wake));
        match input {
            Input::Start => {
                if matches!(self.state, State::Idle) {
                    self.begin_round(Vec::new(), None, now, &mut out);
                }
            }
            Input::Wake => self.on_wake(now, &mut out),
            Input::Verdict { attempt, verdict } => {
                self.on_verdict(attempt, verdict, now, &mut out);
            }
            Input::Lost { attempt, reason } => {
                if self.linked(attempt).is_some() {
                    self.on_lost(reason, now, &mut out);
                } else {
                    self.other_lost(attempt, now, &mut out);
                }
            }
            Input::Probed { probe, result } => self.on_probed(probe, result, now, &mut out),
            Input::Heard { attempt } => {
                self.sign_of_life(attempt, Channel::Requests, Watch::heard, now, &mut out);
            }
            Input::Received { attempt } => {
                self.sign_of_life(attempt, Channel::Publications, Watch::received, now, &mut out);
            }
            Input::Suspect { attempt } => {
                if let Some(link) = self.linked(attempt)
                    && let Some(watch) = link.watch(Channel::Requests)
                {
                    watch.suspect(now);
                }
                self.watches_wake(now, &mut out);
            }
            Input::Leave { to, why } => self.leave(to, Why::Told(why), now, &mut out),
            Input::Cooled { master } => {
                let random = self.rng.f64();
                self.standby.cooled(master, now, random);
            }
            Input::Stop => self.stop(&mut out),
        }
        self.settle(now, &mut out);
        out
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A timer that rings much too late says that this process or its host slept: what is under
    /// way gets its time anew, since nobody else is to blame for it.
    fn notice_sleep(&mut self, now: Instant, wake: bool) {
        let awake = self.awake.replace(now);
        let Some(due) = self.wake_at() else { return };
        // Whatever waited all at once after a sleep comes before the timer; one sleep is one.
        let lost = now.saturating_duration_since(awake.map_or(due, |at| at.max(due)));
        if lost <= Policy::SLEPT {
            if wake {
                self.sleeps = 0;
                self.notice_load(lost, now);
            }
            return;
        }
        self.sleeps = self.sleeps.saturating_add(1);
        if self.sleeps > Policy::SLEPT_OFTEN {
            return;
        }
        self.standby.slept(lost);
        match &mut self.state {
            State::Idle | State::Waiting { .. } => {}
            State::Searching(election) => election.slept(lost),
            State::Connected(link) => link.slept(lost, now),
        }
    }

    /// On a host where timers ring late, answers are late too, for no fault of the master.
    fn notice_load(&mut self, late: Duration, now: Instant) {
        if late >= Policy::LATE
            && let Some(link) = self.link()
        {
            let delay = late * Policy::LATENESS_WEIGHT;
            link.watches.iter_mut().for_each(|watch| watch.expect_delay(delay, now));
        }
    }

    fn sign_of_life(
        &mut self,
        attempt: Attempt,
        channel: Channel,
        note: fn(&mut Watch, Instant),
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if let Some(link) = self.linked(attempt)
            && let Some(watch) = link.watch(channel)
        {
            note(watch, now);
            if channel == Channel::Publications {
                link.deaf = 0;
            }
            self.doubt_heard(channel, out);
        }
    }

    fn on_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Idle => {}
            State::Waiting { until, .. } => {
                if *until <= now {
                    self.begin_round(Vec::new(), None, now, out);
                }
            }
            State::Searching(_) => self.search_wake(now, out),
            // Each of these finds out for itself whether there still is a connection.
            State::Connected(_) => {
                self.doubt_wake(now, out);
                self.watches_wake(now, out);
                self.failback_wake(now, out);
                self.leave_wake(now, out);
                self.standby_wake(now, out);
            }
        }
    }

    pub(crate) fn on_verdict(
        &mut self,
        attempt: Attempt,
        verdict: Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let taken = self.search_verdict(attempt, verdict, now, out)
            || self.doubt_verdict(attempt, verdict, now, out)
            || self.leave_verdict(attempt, verdict, now, out)
            || self.failback_verdict(attempt, verdict, now, out)
            || self.standby_verdict(attempt, verdict, now);
        // A late success would keep a connection open that nobody uses.
        if !taken && verdict == Verdict::Ok {
            out.push(Action::Abandon { attempt });
        }
    }

    fn failback_verdict(
        &mut self,
        attempt: Attempt,
        verdict: Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let flight = self.link().and_then(|link| link.failback.as_mut()?.take(attempt));
        let Some(flight) = flight else { return false };
        self.judge(flight.master, verdict, now);
        if verdict == Verdict::Ok {
            out.push(Action::Notify(Notice::Failback(flight.master)));
            self.replace(&flight, LossReason::Failback, now, out);
        }
        true
    }

    fn stop(&mut self, out: &mut Vec<Action>) {
        let prepared = self.standby.take_all();
        out.extend(prepared.iter().map(|f| Action::Abandon { attempt: f.attempt }));
        let kept = self.standby.take_all_warm();
        out.extend(kept.into_iter().map(|master| Action::Release { master }));
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Searching(election) => {
                out.extend(election.flights.iter().map(|f| Action::Abandon { attempt: f.attempt }));
            }
            State::Connected(link) => {
                out.extend(link.flights().map(|f| Action::Abandon { attempt: f.attempt }));
                let reason = LossReason::Stopped;
                out.push(Action::Disconnect { attempt: link.attempt, reason });
            }
            State::Idle | State::Waiting { .. } => {}
        }
    }

    /// Masters that need no sign-in in the background: one leads there, or is about to.
    fn busy(&self) -> Vec<Master> {
        self.current().into_iter().chain(self.side_flights().map(|f| f.master)).collect()
    }

    fn standby_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        while let Some(attempt) = self.standby.overdue(now) {
            out.push(Action::Abandon { attempt });
            self.standby_verdict(attempt, Verdict::Soft(Soft::Timeout), now);
        }
        while matches!(self.state, State::Connected(_))
            && let Some(master) = self.standby.next_due(now, &self.busy())
        {
            let attempt = Attempt(self.new_id());
            out.push(Action::Prepare { attempt, master });
            self.standby.started(attempt, master, now, self.policy.attempt_timeout);
        }
    }

    fn standby_verdict(&mut self, attempt: Attempt, verdict: Verdict, now: Instant) -> bool {
        let Some(flight) = self.standby.take(attempt, now) else { return false };
        self.judge(flight.master, verdict, now);
        if verdict == Verdict::Ok {
            self.standby.keep(flight.master, now);
        }
        true
    }

    /// After everything else: which links are kept, and has anything changed that others want to
    /// know?
    fn settle(&mut self, now: Instant, out: &mut Vec<Action>) {
        if matches!(self.state, State::Connected(_)) {
            let busy = self.busy();
            let close = self.standby.settle(&busy, &self.order, now, &mut self.rng);
            out.extend(close.into_iter().map(|master| Action::Release { master }));
        }
        // Who answers is not dumb, whatever it was before.
        if let State::Connected(link) = &self.state
            && let Some(candidate) = self.candidates.get_mut(link.master.0)
        {
            for watch in link.watches.iter().filter(|watch| watch.was_heard()) {
                if let Some(dumb) = candidate.dumb.get_mut(watch.channel as usize) {
                    *dumb = false;
                }
            }
        }
        let states: Vec<Ready> = self.readiness().iter().map(|known| known.state).collect();
        let same = |(a, b): (&Ready, &Ready)| a.is_like(b);
        if !states.iter().zip(&self.told).all(same) {
            self.told = states;
            out.push(Action::Notify(Notice::Readiness));
        }
    }
}
