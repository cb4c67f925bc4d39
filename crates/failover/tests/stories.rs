//! Stories told in simulated time: masters die, hang, refuse, hold keys back; the machine must
//! always come to rest on one that works, without haste and without giving up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use saltern_failover::{
    Action, Attempt, Hard, Input, LeaveReason, LossReason, Machine, Master, Notice, Policy, Probe,
    ProbeResult, Soft, Status, Verdict,
};

#[derive(Clone, Copy, PartialEq)]
enum Host {
    Up,
    Refuses,
    BlackHole,
    Says(Soft),
    Impostor,
    OnlyPings,
}

struct World {
    machine: Machine,
    start: Instant,
    now: Duration,
    hosts: Vec<Host>,
    inbox: BTreeMap<(Duration, u64), Input>,
    sequence: u64,
    actions: Vec<(Duration, Action)>,
}

const RTT: Duration = Duration::from_millis(20);

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn policy(n: usize) -> Policy {
    Policy {
        alive_interval: Some(secs(5)),
        attempt_timeout: secs(5),
        ..Policy::new((1..=n).map(|i| format!("m{i}")).collect())
    }
}

impl World {
    fn new(policy: Policy, hosts: &[Host]) -> Self {
        let machine = Machine::new(policy, fastrand::Rng::with_seed(42));
        let mut world = World {
            machine,
            start: Instant::now(),
            now: Duration::ZERO,
            hosts: hosts.to_vec(),
            inbox: BTreeMap::new(),
            sequence: 0,
            actions: Vec::new(),
        };
        world.tell(Input::Start);
        world
    }

    fn tell(&mut self, input: Input) {
        let actions = self.machine.handle(self.start + self.now, input);
        for action in actions {
            self.obey(&action);
            self.actions.push((self.now, action));
        }
    }

    fn later(&mut self, input: Input) {
        self.sequence += 1;
        self.inbox.insert((self.now + RTT, self.sequence), input);
    }

    fn obey(&mut self, action: &Action) {
        match *action {
            Action::Try { attempt, master, .. } => {
                let verdict = match self.hosts[master.0] {
                    Host::Up => Verdict::Ok,
                    Host::Refuses => Verdict::Soft(Soft::Refused),
                    Host::Says(soft) => Verdict::Soft(soft),
                    Host::Impostor => Verdict::Hard(Hard::UntrustedKey),
                    Host::BlackHole | Host::OnlyPings => return,
                };
                self.later(Input::Verdict { attempt, verdict });
            }
            Action::Probe { probe, master, authenticated, .. } => {
                let result = match self.hosts[master.0] {
                    Host::Refuses => ProbeResult::Refused,
                    Host::OnlyPings if authenticated => ProbeResult::Failed,
                    Host::BlackHole => return,
                    _ => ProbeResult::Alive,
                };
                self.later(Input::Probed { probe, result });
            }
            _ => {}
        }
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            let wake = self.machine.wake_at().map(|at| at.saturating_duration_since(self.start));
            let mail = self.inbox.keys().next().copied();
            match (wake, mail) {
                (Some(at), mail) if at <= end && mail.is_none_or(|m| at <= m.0) => {
                    self.now = self.now.max(at);
                    self.tell(Input::Wake);
                }
                (_, Some(key)) if key.0 <= end => {
                    self.now = key.0;
                    if let Some(input) = self.inbox.remove(&key) {
                        self.tell(input);
                    }
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn connected(&self) -> Option<usize> {
        match self.machine.status() {
            Status::Connected { master, .. } => Some(master.0),
            _ => None,
        }
    }

    fn link(&self) -> Attempt {
        match self.machine.status() {
            Status::Connected { attempt, .. } => attempt,
            _ => Attempt(u64::MAX),
        }
    }

    /// kill -9: the socket closes at once and nobody listens any more.
    fn kill(&mut self, master: usize) {
        self.hosts[master] = Host::Refuses;
        if self.connected() == Some(master) {
            let attempt = self.link();
            self.tell(Input::Lost { attempt, reason: LossReason::Closed });
        }
    }

    fn most_actions_in_a_second(&self) -> usize {
        let mut counts = BTreeMap::new();
        for (at, _) in &self.actions {
            *counts.entry(at.as_secs()).or_insert(0) += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }

    fn tries(&self, master: usize) -> usize {
        let is = |a: &Action| matches!(a, Action::Try { master: m, .. } if m.0 == master);
        self.actions.iter().filter(|(_, action)| is(action)).count()
    }
}

#[test]
fn the_first_of_the_list_is_taken_and_nobody_else_is_asked() {
    let mut world = World::new(policy(3), &[Host::Up, Host::Up, Host::Up]);
    world.run_until(secs(60));
    assert_eq!(world.connected(), Some(0));
    assert_eq!((world.tries(0), world.tries(1), world.tries(2)), (1, 0, 0));
}

#[test]
fn a_killed_master_is_left_at_once_for_the_next_in_the_list() {
    let mut world = World::new(policy(3), &[Host::Up, Host::Up, Host::Up]);
    world.run_until(secs(20));
    world.kill(0);
    world.run_until(secs(20) + RTT);
    assert_eq!(world.connected(), Some(1));
    let order: Vec<usize> = world.machine.order().iter().map(|m| m.0).collect();
    assert_eq!(order, [1, 2, 0], "the one that failed is last");
    world.hosts[0] = Host::Up;
    world.run_until(secs(200));
    assert_eq!(world.connected(), Some(1), "without failback we stay");
}

#[test]
fn events_tell_the_story_in_order() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Up]);
    world.run_until(secs(20));
    world.kill(0);
    world.run_until(secs(21));
    let notices: Vec<Notice> = world
        .actions
        .iter()
        .filter_map(|(_, a)| if let Action::Notify(n) = a { Some(*n) } else { None })
        .collect();
    let (m1, m2) = (Master(0), Master(1));
    assert_eq!(notices, [Notice::Connected(m1), Notice::Disconnected(m1), Notice::Connected(m2)]);
}

#[test]
fn refused_unresolved_pending_rejected_full_or_untrusted_first_costs_nothing() {
    for first in [
        Host::Refuses,
        Host::Says(Soft::Unresolved),
        Host::Says(Soft::Pending),
        Host::Says(Soft::Rejected),
        Host::Says(Soft::Full),
        Host::Impostor,
    ] {
        let mut world = World::new(policy(2), &[first, Host::Up]);
        world.run_until(RTT * 2);
        assert_eq!(world.connected(), Some(1));
    }
}

#[test]
fn silent_masters_cost_one_connect_time_together() {
    let mut hosts = vec![Host::BlackHole; 8];
    hosts.push(Host::Up);
    let mut world = World::new(policy(9), &hosts);
    world.run_until(secs(5));
    assert_eq!(world.connected(), Some(8));
    let abandoned =
        world.actions.iter().filter(|(_, a)| matches!(a, Action::Abandon { .. })).count();
    assert_eq!(abandoned, 8, "the others are let go");
}

#[test]
fn a_frozen_master_is_left_within_two_intervals() {
    for interval in [1u64, 5, 30] {
        let mut policy = policy(2);
        policy.alive_interval = Some(secs(interval));
        let mut world = World::new(policy, &[Host::Up, Host::Up]);
        world.run_until(secs(interval * 10));
        world.hosts[0] = Host::BlackHole;
        world.run_until(secs(interval * 12));
        assert_eq!(world.connected(), Some(1), "interval {interval}");
    }
}

#[test]
fn a_request_without_an_answer_makes_the_probe_come_early() {
    let mut policy = policy(2);
    policy.alive_interval = Some(secs(3600));
    let mut world = World::new(policy, &[Host::Up, Host::Up]);
    world.run_until(secs(20));
    world.hosts[0] = Host::BlackHole;
    let attempt = world.link();
    world.tell(Input::Suspect { attempt });
    world.run_until(secs(31));
    assert_eq!(world.connected(), Some(1));
}

#[test]
fn an_echo_that_cannot_prove_the_key_does_not_keep_us() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Up]);
    world.run_until(secs(60));
    world.hosts[0] = Host::OnlyPings;
    world.run_until(secs(60 + 5 * 6));
    assert_eq!(world.connected(), Some(1));
}

/// Tries of one master in such a time: a pause is never shorter than a quarter of its bound, and
/// the first few bounds are smaller.
fn most_tries(time: Duration) -> usize {
    (time.as_secs_f64() / (Policy::BACKOFF_MAX.as_secs_f64() / 4.0)) as usize + 5
}

#[test]
fn masters_that_die_one_after_the_other_are_left_at_once() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Up]);
    for round in 1..=6u64 {
        world.run_until(secs(round));
        let dying = world.connected().expect("connected a second after the last loss");
        let at = world.now;
        let attempt = world.link();
        world.tell(Input::Lost { attempt, reason: LossReason::Closed });
        world.run_until(at + Duration::from_millis(400));
        assert_eq!(world.connected(), Some(1 - dying));
    }
}

#[test]
fn all_down_for_an_hour_is_calm_and_the_return_is_noticed_in_seconds() {
    let mut world = World::new(policy(3), &[Host::Up; 3]);
    world.run_until(secs(30));
    for master in [0, 1, 2] {
        world.kill(master);
        world.run_until(world.now + secs(1));
    }
    world.run_until(secs(3600));
    assert_eq!(world.connected(), None);
    assert!(matches!(world.machine.status(), Status::Waiting { pending: false, .. }));
    assert!(world.most_actions_in_a_second() <= 20, "{}", world.most_actions_in_a_second());
    assert!(world.tries(1) <= most_tries(secs(3600)), "{}", world.tries(1));
    world.hosts[2] = Host::Up;
    world.run_until(secs(3600) + Policy::BACKOFF_MAX + secs(1));
    assert_eq!(world.connected(), Some(2));
}

#[test]
fn all_black_holed_then_back() {
    let mut world = World::new(policy(2), &[Host::BlackHole; 2]);
    world.run_until(secs(600));
    assert_eq!(world.connected(), None);
    assert!(world.most_actions_in_a_second() <= 8);
    world.hosts = vec![Host::Up; 2];
    world.run_until(secs(600) + Policy::BACKOFF_MAX + secs(6));
    assert!(world.connected().is_some());
}

#[test]
fn all_pending_waits_for_acceptance_and_asks_no_more_often_than_told() {
    let mut world = World::new(policy(2), &[Host::Says(Soft::Pending); 2]);
    world.run_until(secs(600));
    assert!(matches!(world.machine.status(), Status::Waiting { pending: true, .. }));
    assert!((55..=61).contains(&world.tries(0)), "{}", world.tries(0));
    world.hosts[0] = Host::Up;
    world.run_until(secs(611));
    assert_eq!(world.connected(), Some(0));
}

#[test]
fn the_acceptance_wait_grows_to_its_bound() {
    let mut policy = policy(1);
    policy.acceptance_wait_max = secs(60);
    let mut world = World::new(policy, &[Host::Says(Soft::Pending)]);
    world.run_until(secs(1000));
    // 10 + 20 + 40 s, then every 60 s.
    assert!((15..=20).contains(&world.tries(0)), "{}", world.tries(0));
}

#[test]
fn a_pending_master_does_not_slow_the_search_for_one_that_is_down() {
    let mut world = World::new(policy(2), &[Host::Says(Soft::Pending), Host::Refuses]);
    world.run_until(secs(5));
    assert!(world.tries(1) >= 3, "{}", world.tries(1));
    assert_eq!(world.tries(0), 1);
    world.hosts[1] = Host::Up;
    world.run_until(secs(36));
    assert_eq!(world.connected(), Some(1));
}

#[test]
fn a_master_that_takes_us_and_drops_us_does_not_keep_us_busy() {
    let mut world = World::new(policy(1), &[Host::Up]);
    for step in 1..=600u64 {
        world.run_until(Duration::from_millis(step * 100));
        if world.connected().is_some() {
            let attempt = world.link();
            world.tell(Input::Lost { attempt, reason: LossReason::Closed });
        }
    }
    // A few early losses are forgiven, the rest is slowed down.
    let most = Policy::EARLY_LOSSES as usize + most_tries(secs(60));
    assert!(world.tries(0) <= most, "{}", world.tries(0));
}

#[test]
fn a_single_master_is_taken_again_after_its_restart() {
    let mut world = World::new(policy(1), &[Host::Up]);
    world.run_until(secs(30));
    world.kill(0);
    world.run_until(secs(33));
    world.hosts[0] = Host::Up;
    world.run_until(secs(38));
    assert_eq!(world.connected(), Some(0));
}

#[test]
fn failback_needs_a_stable_master_and_a_full_sign_in() {
    let mut policy = policy(2);
    policy.failback_interval = Some(secs(10));
    let mut world = World::new(policy, &[Host::Refuses, Host::Up]);
    world.run_until(secs(20));
    assert_eq!(world.connected(), Some(1));
    // It answers pings but takes nobody: we stay.
    world.hosts[0] = Host::OnlyPings;
    world.run_until(secs(120));
    assert_eq!(world.connected(), Some(1));
    world.hosts[0] = Host::Says(Soft::Pending);
    world.run_until(secs(240));
    assert_eq!(world.connected(), Some(1));
    world.hosts[0] = Host::Up;
    let old = world.link();
    world.run_until(secs(300));
    assert_eq!(world.connected(), Some(0));
    let at = |wanted: &dyn Fn(&Action) -> bool| {
        world.actions.iter().position(|(_, action)| wanted(action)).unwrap()
    };
    let new = world.link();
    let adopted = at(&|a| matches!(a, Action::Adopt { attempt, .. } if *attempt == new));
    let left = at(&|a| matches!(a, Action::Disconnect { attempt, .. } if *attempt == old));
    assert!(adopted < left, "no moment without a master");
}

#[test]
fn a_slow_first_master_and_a_quick_second_give_one_winner() {
    let mut world = World::new(policy(2), &[Host::BlackHole, Host::Up]);
    world.run_until(secs(2));
    assert_eq!(world.connected(), Some(1));
    let first = world
        .actions
        .iter()
        .find_map(|(_, a)| match a {
            Action::Try { attempt, master: Master(0), .. } => Some(*attempt),
            _ => None,
        })
        .unwrap();
    // The first answers after all: its late success is let go of.
    world.tell(Input::Verdict { attempt: first, verdict: Verdict::Ok });
    assert_eq!(world.connected(), Some(1));
    assert!(
        matches!(world.actions.last(), Some((_, Action::Abandon { attempt })) if *attempt == first)
    );
}

#[test]
fn stale_reports_change_nothing() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Up]);
    world.run_until(secs(20));
    let old = world.link();
    world.kill(0);
    world.run_until(secs(21));
    world.tell(Input::Lost { attempt: old, reason: LossReason::Closed });
    world.tell(Input::Probed { probe: Probe(9999), result: ProbeResult::Refused });
    world.tell(Input::Heard { attempt: old });
    assert_eq!(world.connected(), Some(1));
}

#[test]
fn leaving_on_command_goes_to_another_master() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Up]);
    world.run_until(secs(20));
    world.tell(Input::Leave { to: None, why: LeaveReason::Asked });
    world.run_until(secs(21));
    assert_eq!(world.connected(), Some(1));
}

#[test]
fn stopping_lets_go_of_everything_and_nothing_wakes_any_more() {
    let mut world = World::new(policy(2), &[Host::BlackHole, Host::BlackHole]);
    world.run_until(secs(2));
    world.tell(Input::Stop);
    assert_eq!(world.machine.wake_at(), None);
    let abandoned =
        world.actions.iter().filter(|(_, a)| matches!(a, Action::Abandon { .. })).count();
    assert_eq!(abandoned, 2);
}

#[test]
fn ten_thousand_failures_grow_nothing() {
    let mut world = World::new(policy(2), &[Host::Refuses, Host::Says(Soft::Unresolved)]);
    world.run_until(secs(100_000));
    assert_eq!(world.machine.order().len(), 2);
    assert!(world.inbox.is_empty());
    assert!(world.most_actions_in_a_second() <= 8);
}

#[test]
fn equal_seeds_give_equal_stories() {
    let run = || {
        let mut world = World::new(policy(3), &[Host::Refuses, Host::BlackHole, Host::Up]);
        world.run_until(secs(50));
        world.kill(2);
        world.run_until(secs(300));
        world.actions
    };
    assert_eq!(run(), run());
}
