//! A bad network for an hour: five packets in a hundred are lost and each takes 300 ms one way.
//! Connections behave as TCP does: what is lost comes again after a time that doubles, and what
//! was sent after it waits for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use saltern_failover::*;

use crate::world::secs;

const ONE_WAY: Duration = Duration::from_millis(300);
const LOSS: f64 = 0.05;
/// A new connection: name, TCP, greeting, handshake, sign-in; then once more for the subscription.
const SIGN_IN_STEPS: u32 = 4;
const SUBSCRIBE_STEPS: u32 = 4;

struct Net {
    rng: fastrand::Rng,
    machine: Machine,
    start: Instant,
    now: Duration,
    mail: BTreeMap<(Duration, u64), Input>,
    sequence: u64,
    /// When the last thing arrives that was sent this way, for each connection and direction.
    streams: BTreeMap<(Attempt, Channel, bool), Duration>,
    dead: bool,
    switches: Vec<Duration>,
    refreshes: u32,
    doubts: u32,
}

impl Net {
    fn new(policy: Policy, seed: u64) -> Self {
        let mut net = Net {
            rng: fastrand::Rng::with_seed(seed ^ 0xA5A5),
            machine: Machine::new(policy, fastrand::Rng::with_seed(seed)),
            start: Instant::now(),
            now: Duration::ZERO,
            mail: BTreeMap::new(),
            sequence: 0,
            streams: BTreeMap::new(),
            dead: false,
            switches: Vec::new(),
            refreshes: 0,
            doubts: 0,
        };
        net.tell(Input::Start);
        net
    }

    /// How long one packet is under way, with what TCP does about its loss.
    fn packet(&mut self, first_timeout: Duration) -> Duration {
        let (mut took, mut timeout) = (ONE_WAY, first_timeout);
        while self.rng.f64() < LOSS {
            took += timeout;
            timeout *= 2;
        }
        took
    }

    fn connection(&mut self, warm: bool, subscribe: bool) -> Duration {
        let steps = match (warm, subscribe) {
            (true, _) => SUBSCRIBE_STEPS,
            (false, true) => SIGN_IN_STEPS + SUBSCRIBE_STEPS,
            (false, false) => SIGN_IN_STEPS,
        };
        // The first packets of a connection are sent again after a second, later ones sooner.
        (0..steps).map(|_| self.packet(secs(1)) + self.packet(Duration::from_millis(900))).sum()
    }

    fn send(&mut self, attempt: Attempt, channel: Channel, back: bool, at: Duration) -> Duration {
        let arrives = at + self.packet(Duration::from_millis(900));
        let stream = self.streams.entry((attempt, channel, back)).or_default();
        *stream = arrives.max(*stream);
        *stream
    }

    fn mail(&mut self, at: Duration, input: Input) {
        self.sequence += 1;
        self.mail.insert((at, self.sequence), input);
    }

    fn tell(&mut self, input: Input) {
        let doubted = self.machine.in_doubt();
        for action in self.machine.handle(self.start + self.now, input) {
            self.obey(action);
        }
        self.doubts += u32::from(self.machine.in_doubt() && !doubted);
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::Try { attempt, warm, master } if !self.dead || master != Master(0) => {
                let at = self.now + self.connection(warm, true);
                self.mail(at, Input::Verdict { attempt, verdict: Verdict::Ok });
            }
            Action::Prepare { attempt, master } if !self.dead || master != Master(0) => {
                let at = self.now + self.connection(false, false);
                self.mail(at, Input::Verdict { attempt, verdict: Verdict::Ok });
            }
            Action::Probe { probe, attempt: Some(attempt), channel, .. } if !self.dead => {
                let there = self.send(attempt, channel, false, self.now);
                let back = self.send(attempt, channel, true, there);
                let result = ProbeResult::Alive;
                self.mail(
                    back,
                    match channel {
                        Channel::Publications => Input::Received { attempt },
                        Channel::Requests => Input::Probed { probe, result },
                    },
                );
            }
            Action::Notify(Notice::Switched { .. }) => self.switches.push(self.now),
            Action::Notify(Notice::Refreshed(_)) => self.refreshes += 1,
            _ => {}
        }
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            let wake = self.machine.wake_at().map(|at| at.saturating_duration_since(self.start));
            let mail = self.mail.keys().next().copied();
            match (wake, mail) {
                (Some(at), mail) if at <= end && mail.is_none_or(|m| at <= m.0) => {
                    self.now = self.now.max(at);
                    self.tell(Input::Wake);
                }
                (_, Some(key)) if key.0 <= end => {
                    self.now = self.now.max(key.0);
                    if let Some(input) = self.mail.remove(&key) {
                        self.tell(input);
                    }
                }
                _ => break,
            }
        }
        self.now = end;
    }
}

fn policy(alive: Option<u64>) -> Policy {
    Policy { alive_interval: alive.map(secs), ..Policy::new(vec!["m1".into(), "m2".into()]) }
}

#[test]
fn an_hour_of_loss_and_delay_causes_no_switch_and_few_second_thoughts() {
    for alive in [None, Some(30), Some(10)] {
        for seed in 0..30 {
            let mut net = Net::new(policy(alive), seed);
            net.run_until(secs(60));
            assert!(matches!(net.machine.status(), Status::Connected { .. }), "seed {seed}");
            net.switches.clear();
            net.run_until(secs(3660));
            assert!(net.switches.is_empty(), "{alive:?}, seed {seed}: {:?}", net.switches);
            assert!(net.doubts <= 40, "{alive:?}, seed {seed}: {} doubts", net.doubts);
            assert!(net.refreshes <= 10, "{alive:?}, seed {seed}: {} refreshes", net.refreshes);
        }
    }
}

#[test]
fn on_a_bad_network_a_dead_master_is_still_left_within_the_bound() {
    for (alive, bound) in [(None, 42), (Some(30), 42), (Some(10), 20)] {
        for seed in 0..20 {
            let mut net = Net::new(policy(alive), seed);
            net.run_until(secs(600));
            let Status::Connected { master: Master(0), .. } = net.machine.status() else {
                continue;
            };
            net.switches.clear();
            net.dead = true;
            net.run_until(secs(600 + bound));
            assert_eq!(net.switches.len(), 1, "{alive:?}, seed {seed}");
        }
    }
}
