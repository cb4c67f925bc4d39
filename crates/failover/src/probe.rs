//! When the master in use is asked whether it lives, and when it counts as dead.

use std::time::{Duration, Instant};

use crate::policy::Policy;
use crate::types::{LossReason, Probe, ProbeResult};

/// A question under way.
#[derive(Clone, Debug)]
struct Flight {
    probe: Probe,
    sent: Instant,
}

/// What the prober wants next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing for now.
    Nothing,
    /// Send a question; the caller names it with [`Prober::sent`].
    Ask {
        /// It must carry a proof of the session key.
        authenticated: bool,
    },
    /// The master is lost.
    Lost(LossReason),
}

/// The watch over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Prober {
    interval: Duration,
    due: Instant,
    misses: u32,
    unproven: u32,
    authenticated: bool,
    flight: Option<Flight>,
    /// The question before, if it got no answer in time: a late one is a sign of life too.
    earlier: Option<Probe>,
}

impl Prober {
    /// `random` in `0.0..1.0` spreads the first questions of many minions over the interval.
    pub(crate) fn new(interval: Duration, now: Instant, random: f64) -> Self {
        let first = interval.mul_f64(0.25 + 0.75 * random.clamp(0.0, 1.0));
        let due = now + first;
        Prober {
            interval,
            due,
            misses: 0,
            unproven: 0,
            authenticated: false,
            flight: None,
            earlier: None,
        }
    }

    /// After this time without an answer the question is asked once more.
    fn deadline(&self) -> Duration {
        Policy::probe_deadline(self.interval)
    }

    /// How long answers are of interest: until the master would count as lost.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline() * (2 - self.misses.min(1))
    }

    pub(crate) fn wake_at(&self) -> Instant {
        self.flight.as_ref().map_or(self.due, |flight| flight.sent + self.deadline())
    }

    /// The caller asked the question it was told to ask.
    pub(crate) fn sent(&mut self, probe: Probe, now: Instant) {
        self.flight = Some(Flight { probe, sent: now });
    }

    /// The master proved with its session key that it lives.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.misses = 0;
        self.unproven = 0;
        if self.flight.is_none() {
            self.due = now + self.interval;
        }
    }

    /// Something was not answered: ask now, do not wait for the interval to pass.
    pub(crate) fn suspect(&mut self, now: Instant) {
        if self.flight.is_none() && self.misses == 0 {
            self.due = self.due.min(now);
        }
    }

    pub(crate) fn on_wake(&mut self, now: Instant) -> Want {
        if now < self.wake_at() {
            return Want::Nothing;
        }
        self.earlier = self.flight.take().map(|flight| flight.probe);
        if self.earlier.is_some() {
            self.misses += 1;
            if self.misses >= 2 {
                return Want::Lost(LossReason::Silent);
            }
        }
        self.authenticated = self.unproven + 1 >= Policy::PROVE_EVERY;
        Want::Ask { authenticated: self.authenticated }
    }

    fn alive(&mut self, now: Instant) {
        self.misses = 0;
        self.unproven = if self.authenticated { 0 } else { self.unproven + 1 };
        self.due = now + self.interval;
    }

    pub(crate) fn on_result(&mut self, probe: Probe, result: ProbeResult, now: Instant) -> Want {
        if result == ProbeResult::Alive && self.earlier.take_if(|p| *p == probe).is_some() {
            // The second question is answered already.
            self.flight = None;
            self.alive(now);
            return Want::Nothing;
        }
        let Some(flight) = self.flight.take_if(|flight| flight.probe == probe) else {
            return Want::Nothing;
        };
        match result {
            ProbeResult::Alive => {
                self.alive(now);
                Want::Nothing
            }
            ProbeResult::Refused => Want::Lost(LossReason::Refused),
            ProbeResult::Failed => {
                self.misses += 1;
                if self.misses >= 2 {
                    return Want::Lost(LossReason::Silent);
                }
                // A quick failure still leaves the master the time of a slow one to recover.
                self.due = flight.sent + self.deadline();
                Want::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    #[test]
    fn two_silent_probes_fit_in_two_intervals() {
        let start = Instant::now();
        let mut prober = Prober::new(INTERVAL, start, 1.0);
        assert_eq!(prober.wake_at(), start + INTERVAL);
        let mut now = prober.wake_at();
        assert_eq!(prober.on_wake(now), Want::Ask { authenticated: false });
        prober.sent(Probe(1), now);
        now = prober.wake_at();
        assert_eq!(prober.on_wake(now), Want::Ask { authenticated: false });
        prober.sent(Probe(2), now);
        now = prober.wake_at();
        assert_eq!(prober.on_wake(now), Want::Lost(LossReason::Silent));
        assert!(now - start < INTERVAL * 2);
    }

    #[test]
    fn a_late_answer_to_the_first_question_counts() {
        let mut now = Instant::now();
        let mut prober = Prober::new(INTERVAL, now, 1.0);
        now = prober.wake_at();
        prober.on_wake(now);
        assert_eq!(prober.patience(), Duration::from_secs(4));
        prober.sent(Probe(1), now);
        now = prober.wake_at();
        prober.on_wake(now);
        assert_eq!(prober.patience(), Duration::from_secs(2));
        prober.sent(Probe(2), now);
        now += Duration::from_millis(1900);
        assert_eq!(prober.on_result(Probe(1), ProbeResult::Alive, now), Want::Nothing);
        assert_eq!(prober.wake_at(), now + INTERVAL);
        assert_eq!(prober.on_result(Probe(2), ProbeResult::Failed, now), Want::Nothing, "moot");
        assert_eq!(prober.wake_at(), now + INTERVAL);
    }

    #[test]
    fn every_fourth_probe_proves_the_key_unless_it_was_just_proved() {
        let mut now = Instant::now();
        let mut prober = Prober::new(INTERVAL, now, 1.0);
        let mut asked = Vec::new();
        for i in 0..8 {
            now = prober.wake_at();
            let Want::Ask { authenticated } = prober.on_wake(now) else { panic!("asks") };
            asked.push(authenticated);
            prober.sent(Probe(i), now);
            assert_eq!(prober.on_result(Probe(i), ProbeResult::Alive, now), Want::Nothing);
        }
        assert_eq!(asked, [false, false, false, true, false, false, false, true]);
        prober.heard(now);
        assert_eq!(prober.wake_at(), now + INTERVAL);
    }

    #[test]
    fn a_quick_failure_is_asked_again_a_refusal_is_final() {
        let mut now = Instant::now();
        let mut prober = Prober::new(INTERVAL, now, 1.0);
        now = prober.wake_at();
        prober.on_wake(now);
        prober.sent(Probe(1), now);
        assert_eq!(prober.on_result(Probe(1), ProbeResult::Failed, now), Want::Nothing);
        assert_eq!(prober.wake_at(), now + Duration::from_secs(2));
        now = prober.wake_at();
        prober.on_wake(now);
        prober.sent(Probe(2), now);
        assert_eq!(prober.on_result(Probe(1), ProbeResult::Refused, now), Want::Nothing, "stale");
        assert_eq!(
            prober.on_result(Probe(2), ProbeResult::Refused, now),
            Want::Lost(LossReason::Refused)
        );
    }
}
