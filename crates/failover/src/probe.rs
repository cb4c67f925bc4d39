//! The watch over one channel of a connection: when to ask whether the master lives, and how long
//! to wait for an answer before it is in doubt.

use std::time::{Duration, Instant};

use crate::delays::Delays;
use crate::policy::{Policy, Timing};
use crate::types::{Channel, LossReason, Probe, ProbeResult};

/// What a watch wants next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing for now.
    Nothing,
    /// Send a question; the caller names it with [`Watch::asked`].
    Ask {
        /// It must carry a proof of the session key.
        authenticated: bool,
    },
    /// The master answered.
    Heard,
    /// Nothing was heard in time.
    Doubt,
    /// The master is lost.
    Lost(LossReason),
}

/// The watch over one channel.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) channel: Channel,
    pub(crate) timing: Timing,
    delays: Delays,
    /// When to ask next, unless a question is open.
    due: Instant,
    open: Option<(Probe, Instant)>,
    /// The question before the open one: a late answer to it is a sign of life too.
    earlier: Option<(Probe, Instant)>,
    /// When the first question was asked that nothing has been heard since.
    since: Option<Instant>,
    overdue: bool,
    /// Something was heard on this very connection.
    heard: bool,
    /// Silence on this channel says nothing: the master lives, and never answers here.
    mute: bool,
    /// Connections in a row, before this one, on which nothing was heard.
    unheard: u32,
    unproven: u32,
    proving: bool,
}

impl Watch {
    /// A mute channel is only asked now and then.
    const MUTE_PAUSE: u32 = 8;

    /// `random` in `0.0..1.0` spreads the first questions of many minions over the interval.
    pub(crate) fn new(
        channel: Channel,
        timing: Timing,
        guess: Duration,
        now: Instant,
        random: f64,
    ) -> Self {
        Watch {
            channel,
            timing,
            delays: Delays::new(guess, now),
            due: now + timing.interval.mul_f64(0.25 + 0.75 * random.clamp(0.0, 1.0)),
            open: None,
            earlier: None,
            since: None,
            overdue: false,
            heard: false,
            mute: false,
            unheard: 0,
            unproven: 0,
            proving: false,
        }
    }

    /// Without an answer for this time the master is in doubt.
    pub(crate) fn deadline(&self) -> Duration {
        let peak = self.delays.peak();
        let known = self.delays.smooth() * 3 + Duration::from_millis(500);
        let seen = peak + peak / 4 + Duration::from_millis(300);
        self.timing.deadline(known.max(seen))
    }

    /// How long a fresh connection to the same master seems to need: some eight times to the other
    /// end and back, of which some may be as slow as the slowest of late.
    pub(crate) fn doubt_fit(&self) -> Duration {
        let peak = self.delays.peak();
        self.delays.smooth() * 8 + peak + peak / 2
    }

    /// The same with all the time that a bad way may need; hardly more on a good one.
    pub(crate) fn patient_fit(&self) -> Duration {
        self.delays.smooth() * 20 + self.delays.peak()
    }

    /// How long answers are of interest: until the master would count as lost.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline() + self.timing.doubt_time(self.doubt_fit())
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        self.delays.measured()
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue
    }

    pub(crate) fn was_heard(&self) -> bool {
        self.heard
    }

    /// Since when nothing was heard although asked.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether this channel, asked on many connections in a row, was not heard on any of them.
    pub(crate) fn never_heard(&self) -> bool {
        !self.heard && self.unheard + 1 >= Policy::DUMB
    }

    pub(crate) fn silence(&mut self) {
        (self.mute, self.heard, self.unheard) = (true, false, 0);
    }

    pub(crate) fn wake_at(&self) -> Option<Instant> {
        if self.overdue {
            return None;
        }
        let ask = self.open.is_none().then_some(self.due);
        let doubt = self.since.map(|since| since + self.deadline());
        ask.into_iter().chain(doubt).min()
    }

    /// Whether the next question must prove the key.
    pub(crate) fn next_proves(&self) -> bool {
        self.channel == Channel::Requests
            && (self.proving || self.unproven + 1 >= Policy::PROVE_EVERY)
    }

    /// The caller asked what it was told to ask.
    pub(crate) fn asked(&mut self, probe: Probe, now: Instant) {
        self.proving = self.next_proves();
        self.earlier = self.open.replace((probe, now)).or(self.earlier);
        self.since.get_or_insert(now);
    }

    /// The master proved that it lives, without being asked.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.unproven = 0;
        self.proving = false;
        self.alive(now);
    }

    /// Anything came; on the subscription that is all that can be asked for.
    pub(crate) fn received(&mut self, now: Instant) {
        if let Some(since) = self.since {
            self.delays.answered(now.saturating_duration_since(since), now);
        }
        self.alive(now);
    }

    /// Something was not answered: ask now, do not wait for the interval to pass.
    pub(crate) fn suspect(&mut self, now: Instant) {
        if self.since.is_none() {
            self.due = self.due.min(now);
        }
    }

    pub(crate) fn on_wake(&mut self, now: Instant) -> Want {
        if self.overdue {
            return Want::Nothing;
        }
        if self.since.is_some_and(|since| since + self.deadline() <= now) {
            if self.mute {
                self.quiet(now + self.timing.interval * Self::MUTE_PAUSE);
                return Want::Nothing;
            }
            self.overdue = true;
            return Want::Doubt;
        }
        if self.open.is_none() && self.due <= now {
            return Want::Ask { authenticated: self.next_proves() };
        }
        Want::Nothing
    }

    /// Nothing is open any more; the next question is due then.
    fn quiet(&mut self, due: Instant) {
        (self.open, self.earlier, self.since, self.overdue) = (None, None, None, false);
        self.due = due;
    }

    fn alive(&mut self, now: Instant) {
        self.quiet(now + self.timing.interval);
        self.heard = true;
        self.mute = false;
        self.unheard = 0;
    }

    pub(crate) fn on_result(&mut self, probe: Probe, result: ProbeResult, now: Instant) -> Want {
        let asked = |question: Option<(Probe, Instant)>| question.filter(|(p, _)| *p == probe);
        let open = asked(self.open).is_some();
        let Some((_, at)) = asked(self.open).or(asked(self.earlier)) else {
            return Want::Nothing;
        };
        match result {
            // While the key is being proved an answer to the question before is not enough.
            ProbeResult::Alive if !open && self.proving => Want::Nothing,
            ProbeResult::Alive => {
                let unproven = if self.proving { 0 } else { self.unproven + 1 };
                // The questions before may have got lost with a connection that is gone; how long
                // the way is, this one says.
                self.delays.answered(now.saturating_duration_since(at), now);
                self.alive(now);
                self.unproven = unproven;
                self.proving = false;
                Want::Heard
            }
            ProbeResult::Refused if self.channel == Channel::Requests => {
                Want::Lost(LossReason::Refused)
            }
            ProbeResult::Refused | ProbeResult::Failed => {
                // A quick failure still leaves the master the time of a slow one to recover.
                if open {
                    self.open = None;
                    self.due = now + (self.deadline() / 4).max(Policy::QUICK_RETRY);
                }
                Want::Nothing
            }
        }
    }

    /// Answers may take so long for reasons of our own.
    pub(crate) fn expect_delay(&mut self, delay: Duration, now: Instant) {
        self.delays.at_least(delay, now);
    }

    /// This process slept: what was asked before is asked again, and nobody is to blame.
    pub(crate) fn slept(&mut self, now: Instant) {
        if self.since.is_some() && !self.overdue {
            (self.open, self.since) = (None, None);
            self.due = now;
        }
    }

    /// The master is alive after all, as another way has shown; patience grows by what was seen.
    pub(crate) fn forgive(&mut self, now: Instant) {
        if let Some(since) = self.since {
            self.delays.at_least(now.saturating_duration_since(since), now);
        }
        self.quiet(now + self.timing.interval);
    }

    /// A fresh connection to the same master is in use, which took so long to come about. That
    /// says how slow the way is; the silence before only says that the old connection was dead.
    pub(crate) fn renew(&mut self, took: Duration, now: Instant) {
        if self.overdue && !self.heard {
            self.unheard = self.unheard.saturating_add(1);
        }
        self.delays.at_least(took, now);
        self.quiet(now + self.timing.interval);
        self.heard = false;
        self.proving = false;
        self.unproven = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn watch(channel: Channel, now: Instant) -> Watch {
        let policy = Policy::new(vec!["m1".into()]);
        let timing = Timing::new(&policy, channel).expect("on by default");
        Watch::new(channel, timing, MS * 10, now, 1.0)
    }

    fn ask(watch: &mut Watch, number: u64, now: Instant) -> bool {
        let Want::Ask { authenticated } = watch.on_wake(now) else { panic!("asks") };
        watch.asked(Probe(number), now);
        authenticated
    }

    #[test]
    fn on_a_healthy_network_doubt_and_fresh_connection_fit_in_five_seconds() {
        let start = Instant::now();
        let mut watch = watch(Channel::Requests, start);
        for number in 0..3 {
            let now = watch.wake_at().unwrap();
            ask(&mut watch, number, now);
            watch.on_result(Probe(number), ProbeResult::Alive, now + MS * 20);
        }
        let heard = watch.due - Policy::HEARTBEAT;
        let now = watch.wake_at().unwrap();
        ask(&mut watch, 9, now);
        let doubt = watch.wake_at().unwrap();
        assert_eq!(watch.on_wake(doubt), Want::Doubt);
        assert!(
            doubt + watch.timing.doubt_time(watch.doubt_fit()) < heard + Duration::from_secs(5)
        );
    }

    #[test]
    fn slow_answers_make_patient() {
        let start = Instant::now();
        let mut watch = watch(Channel::Publications, start);
        assert_eq!(watch.deadline(), Policy::DEADLINE_FLOOR);
        let now = watch.wake_at().unwrap();
        ask(&mut watch, 1, now);
        assert_eq!(watch.on_wake(now + Policy::DEADLINE_FLOOR), Want::Doubt);
        watch.received(now + MS * 3000);
        assert!(!watch.is_overdue());
        assert!(watch.deadline() > MS * 3500, "{:?}", watch.deadline());
        assert!(watch.timing.doubt_time(watch.doubt_fit()) > MS * 3500);
    }

    #[test]
    fn every_fourth_probe_proves_the_key_unless_it_was_just_proved() {
        let mut now = Instant::now();
        let mut watch = watch(Channel::Requests, now);
        let mut asked = Vec::new();
        for number in 0..8 {
            now = watch.wake_at().unwrap();
            asked.push(ask(&mut watch, number, now));
            assert_eq!(watch.on_result(Probe(number), ProbeResult::Alive, now), Want::Heard);
        }
        assert_eq!(asked, [false, false, false, true, false, false, false, true]);
        watch.heard(now);
        assert_eq!(watch.wake_at(), Some(now + Policy::HEARTBEAT));
    }

    #[test]
    fn a_failed_proof_is_asked_for_again_until_it_comes_or_the_master_is_in_doubt() {
        let mut now = Instant::now();
        let mut watch = watch(Channel::Requests, now);
        for number in 0..3 {
            now = watch.wake_at().unwrap();
            ask(&mut watch, number, now);
            watch.on_result(Probe(number), ProbeResult::Alive, now);
        }
        now = watch.wake_at().unwrap();
        let first = now;
        for number in 10.. {
            match watch.on_wake(now) {
                Want::Doubt => break,
                Want::Ask { authenticated } => {
                    assert!(authenticated);
                    watch.asked(Probe(number), now);
                    watch.on_result(Probe(number), ProbeResult::Failed, now);
                }
                other => panic!("{other:?}"),
            }
            assert!(number < 20, "not a busy loop");
            now = watch.wake_at().unwrap();
        }
        assert_eq!(now, first + Policy::DEADLINE_FLOOR);
    }

    #[test]
    fn a_refusal_is_final_and_a_stale_one_is_nothing() {
        let mut watch = watch(Channel::Requests, Instant::now());
        let now = watch.wake_at().unwrap();
        ask(&mut watch, 1, now);
        assert_eq!(watch.on_result(Probe(7), ProbeResult::Refused, now), Want::Nothing);
        assert_eq!(
            watch.on_result(Probe(1), ProbeResult::Refused, now),
            Want::Lost(LossReason::Refused)
        );
    }

    #[test]
    fn after_a_sleep_the_question_is_asked_again() {
        let mut watch = watch(Channel::Requests, Instant::now());
        let now = watch.wake_at().unwrap();
        ask(&mut watch, 1, now);
        let later = now + Duration::from_secs(3600);
        watch.slept(later);
        assert_eq!(watch.on_wake(later), Want::Ask { authenticated: false });
        watch.asked(Probe(2), later);
        assert_eq!(watch.wake_at(), Some(later + Policy::DEADLINE_FLOOR));
    }
}
