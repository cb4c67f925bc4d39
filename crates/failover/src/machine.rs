//! The machine: inputs in, actions out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use saltern_base::backoff::Backoff;

use crate::election::{Candidate, Election, Flight};
use crate::order::initial_order;
use crate::policy::Policy;
use crate::probe::{Prober, Want};
use crate::types::{
    Action, Attempt, Channel, Input, LeaveReason, LossReason, Master, Notice, Probe, ProbeResult,
    Readiness, Ready, Soft, Status, Switch, Verdict,
};

/// The connection in use and the watches over it.
#[derive(Debug)]
struct Link {
    attempt: Attempt,
    master: Master,
    since: Instant,
    prober: Option<Prober>,
    failback: Option<Failback>,
}

/// The way back to the preferred master.
#[derive(Debug)]
struct Failback {
    interval: Duration,
    due: Instant,
    good: u32,
    asked: Option<(Probe, Instant)>,
    flight: Option<Flight>,
}

#[derive(Debug)]
enum State {
    Idle,
    Searching(Election),
    Waiting { until: Instant, pending: bool },
    Connected(Box<Link>),
}

/// Decides which master a minion uses (`master_type` failover and distributed), or keeps the
/// connection to one (each hot master, or the only one).
#[derive(Debug)]
pub struct Machine {
    policy: Policy,
    rng: fastrand::Rng,
    order: Vec<Master>,
    candidates: Vec<Candidate>,
    backoff: Backoff,
    early_losses: EarlyLosses,
    next_id: u64,
    state: State,
}

/// Connections that broke soon after they were made.
#[derive(Debug, Default)]
struct EarlyLosses {
    count: u32,
    last: Option<Instant>,
}

impl EarlyLosses {
    /// Counts one more; whether there are so many that they have to be slowed down.
    fn too_many(&mut self, now: Instant) -> bool {
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
        let order = initial_order(&policy, &mut rng);
        let candidates = vec![Candidate::default(); policy.masters.len()];
        let backoff = Backoff::new(Policy::BACKOFF_FIRST, policy.backoff_max());
        let early_losses = EarlyLosses::default();
        let state = State::Idle;
        Machine { policy, rng, order, candidates, backoff, early_losses, next_id: 0, state }
    }

    /// The name of a master as configured; empty for a number that is none.
    #[must_use]
    pub fn name(&self, master: Master) -> &str {
        self.policy.masters.get(master.0).map_or("", String::as_str)
    }

    /// The order in which masters are tried next.
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
        let current = match &self.state {
            State::Connected(link) => Some((link.master, link.since)),
            _ => None,
        };
        (0..self.policy.masters.len())
            .map(Master)
            .map(|master| match current {
                Some((m, since)) if m == master => {
                    Readiness { master, state: Ready::Current, checked: Some(since), warm: false }
                }
                _ => Readiness { master, state: Ready::Unknown, checked: None, warm: false },
            })
            .collect()
    }

    /// How long the master in use takes to answer, smoothed.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        None
    }

    /// The last change of the master in use.
    #[must_use]
    pub fn last_switch(&self) -> Option<Switch> {
        None
    }

    /// When [`Input::Wake`] is due, if nothing else happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Searching(election) => election.wake_at(),
            State::Waiting { until, .. } => Some(*until),
            State::Connected(link) => {
                let probe = link.prober.as_ref().map(Prober::wake_at);
                let failback = link.failback.as_ref().map(Failback::wake_at);
                probe.into_iter().chain(failback).min()
            }
        }
    }

    /// Takes an input that came at `now` and says what is to be done, in this order.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Start => {
                if matches!(self.state, State::Idle) {
                    self.begin_round(now, &mut out);
                }
            }
            Input::Wake => self.on_wake(now, &mut out),
            Input::Verdict { attempt, verdict } => {
                self.on_verdict(attempt, &verdict, now, &mut out);
            }
            Input::Lost { attempt, reason } => {
                if self.linked(attempt) {
                    self.on_lost(reason, now, &mut out);
                }
            }
            Input::Probed { probe, result } => self.on_probed(probe, result, now, &mut out),
            Input::Heard { attempt } => {
                if let Some(prober) = self.prober(attempt) {
                    prober.heard(now);
                }
            }
            Input::Suspect { attempt } => {
                if let Some(prober) = self.prober(attempt) {
                    prober.suspect(now);
                }
                self.on_wake(now, &mut out);
            }
            Input::Leave { to: _, why } => {
                let reason = match why {
                    LeaveReason::Asked => LossReason::Asked,
                    LeaveReason::Drain => LossReason::Drained,
                };
                self.on_lost(reason, now, &mut out);
            }
            Input::Received { .. } | Input::Cooled { .. } => {}
            Input::Stop => self.stop(&mut out),
        }
        out
    }

    fn linked(&self, attempt: Attempt) -> bool {
        matches!(&self.state, State::Connected(link) if link.attempt == attempt)
    }

    fn prober(&mut self, attempt: Attempt) -> Option<&mut Prober> {
        match &mut self.state {
            State::Connected(link) if link.attempt == attempt => link.prober.as_mut(),
            _ => None,
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn begin_round(&mut self, now: Instant, out: &mut Vec<Action>) {
        let queue: VecDeque<Master> =
            self.order.iter().copied().filter(|m| self.may_be_tried(*m, now)).collect();
        self.state = State::Searching(Election::new(queue, now));
        self.advance(now, out);
    }

    fn may_be_tried(&self, master: Master, now: Instant) -> bool {
        self.candidates.get(master.0).is_some_and(|c| c.may_be_tried(now))
    }

    /// Starts whatever is due in the round, or ends it.
    fn advance(&mut self, now: Instant, out: &mut Vec<Action>) {
        loop {
            let State::Searching(election) = &mut self.state else { return };
            let Some(master) = election.next_due(now) else { break };
            let flight = self.new_flight(master, now, out);
            if let State::Searching(election) = &mut self.state {
                election.started(flight, now);
            }
        }
        if matches!(&self.state, State::Searching(election) if election.is_over()) {
            self.wait(now);
        }
    }

    fn new_flight(&mut self, master: Master, now: Instant, out: &mut Vec<Action>) -> Flight {
        let attempt = Attempt(self.new_id());
        out.push(Action::Try { attempt, master, warm: false });
        Flight { attempt, master, deadline: now + self.policy.attempt_timeout }
    }

    /// Nobody took us: when does the next round begin?
    fn wait(&mut self, now: Instant) {
        let waits = self.candidates.iter().filter_map(|c| c.not_before.filter(|at| *at > now));
        let earliest_asked = waits.clone().min();
        let others = self.candidates.len() > waits.count();
        let pending = self.candidates.iter().any(|c| c.pending);
        // When every master has its own moment (all pending, say), that alone is the pause.
        let until = match earliest_asked {
            Some(at) if !others => at,
            asked => {
                let pause = now + self.backoff.next(self.rng.f64());
                asked.map_or(pause, |at| at.min(pause))
            }
        };
        self.state = State::Waiting { until, pending };
    }

    fn on_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Idle => {}
            State::Waiting { until, .. } => {
                if *until <= now {
                    self.begin_round(now, out);
                }
            }
            State::Searching(election) => {
                if let Some(attempt) = election.overdue(now) {
                    out.push(Action::Abandon { attempt });
                    self.on_verdict(attempt, &Verdict::Soft(Soft::Timeout), now, out);
                    // More of them may be due in the same moment.
                    self.on_wake(now, out);
                } else {
                    self.advance(now, out);
                }
            }
            State::Connected(link) => {
                let want = link.prober.as_mut().map_or(Want::Nothing, |p| p.on_wake(now));
                self.follow(want, now, out);
                self.failback_wake(now, out);
            }
        }
    }

    fn on_verdict(
        &mut self,
        attempt: Attempt,
        verdict: &Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let (flight, failback) = match &mut self.state {
            State::Searching(election) => (election.ended(attempt, now), false),
            State::Connected(link) => (link.failback.as_mut().and_then(|f| f.take(attempt)), true),
            State::Idle | State::Waiting { .. } => (None, false),
        };
        let Some(flight) = flight else {
            // A late success would keep a connection open that nobody uses.
            if *verdict == Verdict::Ok {
                out.push(Action::Abandon { attempt });
            }
            return;
        };
        if let Some(candidate) = self.candidates.get_mut(flight.master.0) {
            candidate.judge(verdict, &self.policy, now);
        }
        match (verdict, failback) {
            (Verdict::Ok, true) => {
                out.push(Action::Notify(Notice::Failback(flight.master)));
                self.leave_link(LossReason::Failback, Some(&flight), now, out);
            }
            (Verdict::Ok, false) => self.adopt(&flight, now, out),
            (_, true) => {}
            (_, false) => self.advance(now, out),
        }
    }

    fn adopt(&mut self, flight: &Flight, now: Instant, out: &mut Vec<Action>) {
        if let State::Searching(election) = &self.state {
            for other in &election.flights {
                out.push(Action::Abandon { attempt: other.attempt });
            }
        }
        out.push(Action::Adopt { attempt: flight.attempt, master: flight.master });
        out.push(Action::Notify(Notice::Connected(flight.master)));
        let random = self.rng.f64();
        let prober = self.policy.alive_interval.map(|i| Prober::new(i, now, random));
        let preferred = flight.master == Master(0);
        let failback = self.policy.failback_interval.filter(|_| !preferred);
        self.state = State::Connected(Box::new(Link {
            attempt: flight.attempt,
            master: flight.master,
            since: now,
            prober,
            failback: failback.map(|interval| Failback::new(interval, now)),
        }));
    }

    fn on_lost(&mut self, reason: LossReason, now: Instant, out: &mut Vec<Action>) {
        let State::Connected(link) = &self.state else { return };
        let (master, settled) = (link.master, now >= link.since + Policy::SETTLED);
        // The one that failed is asked last, and stays there until others fail too.
        self.order.retain(|m| *m != master);
        self.order.push(master);
        let slow = !settled && self.early_losses.too_many(now);
        if !slow {
            self.backoff.reset();
        }
        if !settled && let Some(candidate) = self.candidates.get_mut(master.0) {
            let pause = if slow { self.backoff.next(self.rng.f64()) } else { Policy::BREATH };
            candidate.not_before = Some(now + pause);
        }
        self.leave_link(reason, None, now, out);
    }

    /// Lets go of the connection in use: for `next` when one is ready, else to search.
    fn leave_link(
        &mut self,
        reason: LossReason,
        next: Option<&Flight>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let State::Connected(link) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        if let Some(flight) = link.failback.as_ref().and_then(|f| f.flight.as_ref()) {
            out.push(Action::Abandon { attempt: flight.attempt });
        }
        // With a successor the new connection comes first: no moment without a master.
        if let Some(flight) = next {
            self.order.retain(|m| *m != flight.master);
            self.order.insert(0, flight.master);
            self.adopt(flight, now, out);
            out.push(Action::Disconnect { attempt: link.attempt, reason });
            return;
        }
        out.push(Action::Disconnect { attempt: link.attempt, reason });
        out.push(Action::Notify(Notice::Disconnected(link.master)));
        self.begin_round(now, out);
    }

    fn stop(&mut self, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Searching(election) => {
                out.extend(election.flights.iter().map(|f| Action::Abandon { attempt: f.attempt }));
            }
            State::Connected(link) => {
                if let Some(flight) = link.failback.and_then(|f| f.flight) {
                    out.push(Action::Abandon { attempt: flight.attempt });
                }
                let reason = LossReason::Stopped;
                out.push(Action::Disconnect { attempt: link.attempt, reason });
            }
            State::Idle | State::Waiting { .. } => {}
        }
    }

    fn on_probed(
        &mut self,
        probe: Probe,
        result: ProbeResult,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let State::Connected(link) = &mut self.state else { return };
        if let Some(failback) = &mut link.failback
            && failback.asked.is_some_and(|(asked, _)| asked == probe)
        {
            failback.answered(result == ProbeResult::Alive);
            self.failback_wake(now, out);
            return;
        }
        let want = link.prober.as_mut().map_or(Want::Nothing, |p| p.on_result(probe, result, now));
        self.follow(want, now, out);
    }

    fn follow(&mut self, want: Want, now: Instant, out: &mut Vec<Action>) {
        match want {
            Want::Nothing => {}
            Want::Lost(reason) => self.on_lost(reason, now, out),
            Want::Ask { authenticated } => {
                let probe = Probe(self.new_id());
                let State::Connected(link) = &mut self.state else { return };
                let Some(prober) = &mut link.prober else { return };
                let deadline = prober.patience();
                prober.sent(probe, now);
                let (master, attempt) = (link.master, Some(link.attempt));
                let channel = Channel::Requests;
                out.push(Action::Probe {
                    probe,
                    attempt,
                    master,
                    channel,
                    authenticated,
                    deadline,
                });
            }
        }
    }

    fn failback_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        let State::Connected(link) = &mut self.state else { return };
        let Some(failback) = &mut link.failback else { return };
        match failback.on_wake(now) {
            FailbackWant::Nothing => {}
            FailbackWant::Abandon(attempt) => out.push(Action::Abandon { attempt }),
            FailbackWant::Ask => {
                let deadline = failback.deadline();
                let probe = Probe(self.next_id + 1);
                failback.asked = Some((probe, now + deadline));
                self.next_id += 1;
                out.push(Action::Probe {
                    probe,
                    attempt: None,
                    master: Master(0),
                    channel: Channel::Requests,
                    authenticated: false,
                    deadline,
                });
            }
            FailbackWant::SignIn => {
                if self.may_be_tried(Master(0), now) {
                    let flight = self.new_flight(Master(0), now, out);
                    if let State::Connected(link) = &mut self.state
                        && let Some(failback) = &mut link.failback
                    {
                        failback.flight = Some(flight);
                    }
                }
            }
        }
    }
}

/// What the way back wants next.
enum FailbackWant {
    Nothing,
    Ask,
    SignIn,
    Abandon(Attempt),
}

impl Failback {
    fn new(interval: Duration, now: Instant) -> Self {
        Failback { interval, due: now + interval, good: 0, asked: None, flight: None }
    }

    fn deadline(&self) -> Duration {
        Policy::probe_deadline(self.interval)
    }

    fn wake_at(&self) -> Instant {
        match (&self.flight, &self.asked) {
            (Some(flight), _) => flight.deadline,
            (None, Some((_, deadline))) => *deadline,
            (None, None) => self.due,
        }
    }

    fn answered(&mut self, alive: bool) {
        self.asked = None;
        self.good = if alive { self.good + 1 } else { 0 };
    }

    fn take(&mut self, attempt: Attempt) -> Option<Flight> {
        self.good = 0;
        self.flight.take_if(|flight| flight.attempt == attempt)
    }

    /// Answers only say that somebody listens there; it takes a full sign-in to leave for it.
    fn on_wake(&mut self, now: Instant) -> FailbackWant {
        if let Some(flight) = &self.flight {
            if now < flight.deadline {
                return FailbackWant::Nothing;
            }
            let attempt = flight.attempt;
            self.flight = None;
            self.good = 0;
            return FailbackWant::Abandon(attempt);
        }
        if let Some((_, deadline)) = self.asked {
            if now < deadline {
                return FailbackWant::Nothing;
            }
            self.answered(false);
        }
        if self.good >= Policy::FAILBACK_STABLE {
            self.good = 0;
            return FailbackWant::SignIn;
        }
        if now < self.due {
            return FailbackWant::Nothing;
        }
        self.due = now + self.interval;
        FailbackWant::Ask
    }
}
