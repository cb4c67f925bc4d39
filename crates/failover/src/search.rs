//! Looking for a master: rounds over the list, and the pauses between them.

use std::collections::VecDeque;
use std::time::Instant;

use crate::election::{Election, Flight};
use crate::machine::{Machine, State};
use crate::policy::Policy;
use crate::types::{Action, Attempt, Master, Soft, Verdict};

impl Machine {
    pub(crate) fn may_be_tried(&self, master: Master, now: Instant) -> bool {
        self.candidates.get(master.0).is_some_and(|c| c.may_be_tried(now))
    }

    /// The order in which masters are tried: those known to be ready first.
    pub(crate) fn ranked(&self) -> Vec<Master> {
        let mut ranked = self.order.clone();
        let dumb = |m: &Master| self.candidates.get(m.0).is_some_and(|c| c.dumb != [false; 2]);
        ranked.sort_by_key(|master| (self.standby.rank(*master), dumb(master)));
        ranked
    }

    /// Asked last from now on, until others fail too.
    pub(crate) fn demote(&mut self, master: Master) {
        self.order.retain(|m| *m != master);
        self.order.push(master);
    }

    /// Asked first from now on.
    pub(crate) fn prefer(&mut self, master: Master) {
        self.order.retain(|m| *m != master);
        self.order.insert(0, master);
    }

    /// Begins a round with tries that are under way already. `wish` comes before all others.
    pub(crate) fn begin_round(
        &mut self,
        flights: Vec<Flight>,
        wish: Option<Master>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        // They are not urgent, and whoever takes us now must not be busy with them.
        for flight in self.standby.take_all() {
            out.push(Action::Abandon { attempt: flight.attempt });
        }
        let ranked = self.ranked().into_iter();
        let queue: VecDeque<Master> = ranked.filter(|m| self.may_be_tried(*m, now)).collect();
        let mut election = Election::with_flights(queue, flights, now);
        for (master, candidate) in self.candidates.iter().enumerate() {
            if let Some(at) = candidate.not_before.filter(|at| *at > now) {
                election.again(Master(master), at);
            }
        }
        if let Some(wish) = wish {
            election.prefer(wish);
        }
        self.state = State::Searching(election);
        self.advance(now, out);
    }

    /// Starts whatever is due in the round, or ends it.
    pub(crate) fn advance(&mut self, now: Instant, out: &mut Vec<Action>) {
        loop {
            let State::Searching(election) = &mut self.state else { return };
            let Some(master) = election.next_due(now) else { break };
            let flight = self.new_flight(master, true, now, out);
            if let State::Searching(election) = &mut self.state {
                election.started(flight, now);
            }
        }
        if let State::Searching(election) = &self.state
            && election.is_over()
        {
            let began = election.began();
            self.wait(began, now);
        }
    }

    /// Starts a try; `warm` = over the link kept to this master, if there is one.
    pub(crate) fn new_flight(
        &mut self,
        master: Master,
        warm: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Flight {
        if let Some(attempt) = self.standby.at(master)
            && self.standby.take(attempt, now).is_some()
        {
            out.push(Action::Abandon { attempt });
        }
        let kept = self.standby.take_warm(master);
        if kept && !warm {
            out.push(Action::Release { master });
        }
        let (attempt, warm) = (Attempt(self.new_id()), kept && warm);
        out.push(Action::Try { attempt, master, warm });
        let deadline = now + self.policy.attempt_timeout;
        Flight { attempt, master, started: now, took: None, deadline, warm }
    }

    /// Nobody took us: when does the next round begin?
    fn wait(&mut self, began: Instant, now: Instant) {
        let waits = self.candidates.iter().filter_map(|c| c.not_before.filter(|at| *at > now));
        let earliest_asked = waits.clone().min();
        let others = self.candidates.len() > waits.count();
        let pending = self.candidates.iter().any(|c| c.pending);
        // When every master has its own moment (all pending, say), that alone is the pause.
        let until = match earliest_asked {
            Some(at) if !others => at,
            asked => {
                // A round that took long because masters did not answer was a pause in itself.
                let pause = began + self.backoff.next(self.rng.f64());
                let pause = pause.max(now + Policy::BREATH);
                asked.map_or(pause, |at| at.min(pause))
            }
        };
        self.state = State::Waiting { until, pending };
    }

    pub(crate) fn search_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        // More than one may be due in the same moment.
        while let State::Searching(election) = &self.state
            && let Some(attempt) = election.overdue(now)
        {
            out.push(Action::Abandon { attempt });
            self.on_verdict(attempt, Verdict::Soft(Soft::Timeout), now, out);
        }
        self.advance(now, out);
    }

    /// A verdict on a try of the round; whether it was.
    pub(crate) fn search_verdict(
        &mut self,
        attempt: Attempt,
        verdict: Verdict,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let State::Searching(election) = &mut self.state else { return false };
        let Some(flight) = election.ended(attempt, now) else { return false };
        self.judge(flight.master, verdict, now);
        if verdict != Verdict::Ok {
            let told = self.candidates.get(flight.master.0).and_then(|c| c.not_before);
            let pause = match verdict {
                Verdict::Soft(Soft::Timeout) => Policy::BREATH,
                _ => Policy::BACKOFF_MAX.mul_f64(0.4 + 0.4 * self.rng.f64()),
            };
            if let State::Searching(election) = &mut self.state {
                election.again(flight.master, told.unwrap_or(now + pause));
            }
            self.advance(now, out);
            return true;
        }
        if let State::Searching(election) = &self.state {
            out.extend(election.flights.iter().map(|f| Action::Abandon { attempt: f.attempt }));
        }
        self.adopt(&flight, now, out);
        true
    }

    /// Draws the conclusions of a verdict.
    pub(crate) fn judge(&mut self, master: Master, verdict: Verdict, now: Instant) {
        let random = self.rng.f64();
        if let Some(candidate) = self.candidates.get_mut(master.0) {
            candidate.judge(&verdict, &self.policy, now, random);
        }
        self.standby.learn(master, verdict, now, random);
    }
}
