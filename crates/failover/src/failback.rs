//! The way back to the preferred master: it must answer for a while and then take a full sign-in,
//! all of it beside the connection in use.

use std::time::{Duration, Instant};

use crate::election::Flight;
use crate::machine::{Machine, State};
use crate::policy::Policy;
use crate::types::{Action, Attempt, Channel, Master, Probe};

/// The watch over the preferred master.
#[derive(Debug)]
pub(crate) struct Failback {
    interval: Duration,
    due: Instant,
    good: u32,
    asked: Option<(Probe, Instant)>,
    pub(crate) flight: Option<Flight>,
}

/// What the way back wants next.
enum Want {
    Nothing,
    Ask,
    SignIn,
    Abandon(Attempt),
}

impl Failback {
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Failback { interval, due: now + interval, good: 0, asked: None, flight: None }
    }

    pub(crate) fn wake_at(&self) -> Instant {
        match (&self.flight, &self.asked) {
            (Some(flight), _) => flight.deadline,
            (None, Some((_, deadline))) => *deadline,
            (None, None) => self.due,
        }
    }

    /// Whether this question was its own.
    pub(crate) fn answered(&mut self, probe: Probe, alive: bool) -> bool {
        if self.asked.is_none_or(|(asked, _)| asked != probe) {
            return false;
        }
        self.count(alive);
        true
    }

    fn count(&mut self, alive: bool) {
        self.asked = None;
        self.good = if alive { self.good + 1 } else { 0 };
    }

    pub(crate) fn take(&mut self, attempt: Attempt) -> Option<Flight> {
        let flight = self.flight.take_if(|flight| flight.attempt == attempt);
        if flight.is_some() {
            self.good = 0;
        }
        flight
    }

    pub(crate) fn slept(&mut self, lost: Duration) {
        if let Some(flight) = &mut self.flight {
            flight.slept(lost);
        }
        if let Some((_, deadline)) = &mut self.asked {
            *deadline += lost;
        }
    }

    /// Answers only say that somebody listens there; it takes a full sign-in to leave for it.
    fn on_wake(&mut self, now: Instant) -> Want {
        if let Some(flight) = &self.flight {
            if now < flight.deadline {
                return Want::Nothing;
            }
            let attempt = flight.attempt;
            self.flight = None;
            self.good = 0;
            return Want::Abandon(attempt);
        }
        if let Some((_, deadline)) = self.asked {
            if now < deadline {
                return Want::Nothing;
            }
            self.count(false);
        }
        if self.good >= Policy::FAILBACK_STABLE {
            self.good = 0;
            return Want::SignIn;
        }
        if now < self.due {
            return Want::Nothing;
        }
        self.due = now + self.interval;
        Want::Ask
    }
}

impl Machine {
    fn failback(&mut self) -> Option<&mut Failback> {
        match &mut self.state {
            State::Connected(link) => link.failback.as_mut(),
            _ => None,
        }
    }

    pub(crate) fn failback_wake(&mut self, now: Instant, out: &mut Vec<Action>) {
        // One step may make the next one due.
        while self.failback_step(now, out) {}
    }

    fn failback_step(&mut self, now: Instant, out: &mut Vec<Action>) -> bool {
        let Some(failback) = self.failback() else { return false };
        let deadline = Policy::probe_deadline(failback.interval);
        match failback.on_wake(now) {
            Want::Nothing => return false,
            Want::Abandon(attempt) => out.push(Action::Abandon { attempt }),
            Want::Ask => {
                let probe = Probe(self.new_id());
                if let Some(failback) = self.failback() {
                    failback.asked = Some((probe, now + deadline));
                }
                out.push(Action::Probe {
                    probe,
                    attempt: None,
                    master: Master(0),
                    channel: Channel::Requests,
                    authenticated: false,
                    deadline,
                });
            }
            Want::SignIn => {
                let under_way = self.side_flights().any(|flight| flight.master == Master(0));
                if !under_way && self.may_be_tried(Master(0), now) {
                    let flight = self.new_flight(Master(0), false, now, out);
                    if let Some(failback) = self.failback() {
                        failback.flight = Some(flight);
                    }
                }
            }
        }
        true
    }
}
