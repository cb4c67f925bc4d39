//! Masters that go silent, one way or the other.

use std::time::Duration;

use saltern_failover::*;

use crate::world::*;

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
    let attempt = world.link().unwrap();
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

/// From any moment on: how long until another master is in use?
fn time_to_leave(host: Host, change: impl Fn(&mut Policy), seed: u64) -> Duration {
    let mut policy = Policy::new((1..=3).map(|i| format!("m{i}")).collect());
    change(&mut policy);
    let mut world = World::seeded(policy, &[Host::Up; 3], seed);
    world.run_until(secs(60) + Duration::from_millis(seed * 97));
    assert_eq!(world.connected(), Some(0));
    world.hosts[0] = host;
    let frozen = world.now;
    while world.connected() == Some(0) && world.now < frozen + secs(120) {
        world.run_until(world.now + Duration::from_millis(10));
    }
    assert_eq!(world.switches(), 1);
    assert_ne!(world.connected(), None, "the next one is at hand");
    world.now - frozen
}

#[test]
fn by_default_any_kind_of_silence_is_left_within_five_seconds() {
    for host in [Host::BlackHole, Host::NoPublications, Host::NoRequests] {
        for seed in 0..40 {
            let took = time_to_leave(host, |_| {}, seed);
            assert!(took < secs(5), "{host:?} seed {seed}: {took:?}");
        }
    }
}

#[test]
fn the_alive_interval_is_an_upper_bound() {
    for interval in [1u64, 2, 5, 30] {
        for seed in 0..20 {
            let set = |policy: &mut Policy| {
                policy.alive_interval = Some(secs(interval));
                policy.standby = seed % 2 == 0;
            };
            let took = time_to_leave(Host::BlackHole, set, seed);
            let bound = secs(2 * interval).min(secs(5));
            assert!(took < bound, "interval {interval} seed {seed}: {took:?}");
        }
    }
}

#[test]
fn switched_off_channels_are_not_asked_and_a_closed_connection_is_still_noticed() {
    let mut policy = Policy::new(vec!["m1".into(), "m2".into()]);
    (policy.heartbeat_interval, policy.probe_interval) = (None, None);
    let mut world = World::new(policy, &[Host::Up; 2]);
    world.run_until(secs(600));
    assert_eq!(world.count(|a| matches!(a, Action::Probe { .. })), 0);
    world.kill(0);
    world.run_until(world.now + RTT);
    assert_eq!(world.connected(), Some(1));
}

#[test]
fn a_half_open_connection_is_replaced_and_that_is_no_switch() {
    let mut world = World::new(policy(2), &[Host::Up; 2]);
    world.run_until(secs(30));
    let before = world.link();
    world.sever();
    world.run_until(secs(36));
    assert_eq!(world.connected(), Some(0));
    assert_ne!(world.link(), before);
    assert_eq!((world.refreshes(), world.switches()), (1, 0));
    assert_eq!(world.notices(), [Notice::Connected(Master(0)), Notice::Refreshed(Master(0))]);
    assert!(matches!(world.machine.status(), Status::Connected { .. }));
    world.run_until(secs(600));
    assert_eq!(world.refreshes(), 1, "and that was it");
    world.stop();
}

#[test]
fn anything_that_arrives_ends_the_doubt() {
    for (seed, channel) in [Channel::Publications, Channel::Requests].into_iter().enumerate() {
        let mut world = World::seeded(policy(2), &[Host::Up; 2], seed as u64);
        world.run_until(secs(30));
        world.hosts[0] = match channel {
            Channel::Publications => Host::NoPublications,
            Channel::Requests => Host::NoRequests,
        };
        while !world.machine.in_doubt() {
            world.run_until(world.now + Duration::from_millis(10));
        }
        world.run_until(world.now + RTT * 2);
        assert_eq!(world.held.len(), 1, "the other master is at hand");
        world.hosts[0] = Host::Up;
        let attempt = world.link().unwrap();
        world.tell(match channel {
            Channel::Publications => Input::Received { attempt },
            Channel::Requests => Input::Heard { attempt },
        });
        assert!(!world.machine.in_doubt());
        assert!(world.held.is_empty());
        world.run_until(secs(600));
        assert_eq!((world.connected(), world.switches()), (Some(0), 0));
        world.stop();
    }
}

/// Runs until the master in use is in doubt and the other one is held ready.
fn in_doubt(hosts: &[Host]) -> World {
    let mut world = World::new(policy(hosts.len()), hosts);
    world.run_until(secs(30));
    world.hosts[0] = Host::BlackHole;
    while !world.machine.in_doubt() {
        world.run_until(world.now + Duration::from_millis(10));
    }
    world.run_until(world.now + RTT * 2);
    world
}

#[test]
fn a_connection_that_closes_while_in_doubt_is_left_in_the_same_moment() {
    let mut world = in_doubt(&[Host::Up; 3]);
    world.kill(0);
    assert_eq!(world.connected(), Some(1));
    let switch = world.machine.last_switch().unwrap();
    assert_eq!((switch.reason, switch.gap), (LossReason::Closed, Duration::ZERO));
    world.stop();
}

#[test]
fn a_standby_that_dies_while_held_ready_is_replaced_by_the_next() {
    let mut world = in_doubt(&[Host::Up; 3]);
    let (attempt, master) = world.held.iter().map(|(a, m)| (*a, *m)).next().unwrap();
    assert_eq!(master, Master(1));
    world.hosts[1] = Host::Refuses;
    world.tell(Input::Lost { attempt, reason: LossReason::Closed });
    world.run_until(world.now + secs(2));
    assert_eq!(world.connected(), Some(2));
    world.stop();
}

#[test]
fn all_die_while_in_doubt_and_one_comes_back() {
    let mut world = in_doubt(&[Host::Up; 3]);
    world.hosts = vec![Host::BlackHole; 3];
    if let Some(attempt) = world.held.keys().next().copied() {
        world.tell(Input::Lost { attempt, reason: LossReason::Closed });
    }
    world.run_until(world.now + secs(60));
    assert_eq!(world.connected(), None);
    world.held_is_bounded();
    world.hosts[0] = Host::Up;
    world.run_until(world.now + Policy::BACKOFF_MAX + secs(6));
    assert_eq!(world.connected(), Some(0));
    world.stop();
}

#[test]
fn a_single_master_that_goes_silent_is_lost_and_found() {
    let mut world = World::new(policy(1), &[Host::Up]);
    world.run_until(secs(30));
    world.hosts[0] = Host::BlackHole;
    world.run_until(secs(40));
    assert_eq!(world.connected(), None);
    world.hosts[0] = Host::Up;
    world.run_until(secs(40) + Policy::BACKOFF_MAX + secs(6));
    assert_eq!(world.connected(), Some(0));
    assert_eq!(world.switches(), 0, "it is the same one");
}

#[test]
fn a_master_that_is_busy_is_not_left_by_the_crowd() {
    let mut world = World::new(policy(2), &[Host::Up; 2]);
    world.run_until(secs(30));
    world.sever();
    world.hosts[0] = Host::Says(Soft::Busy { retry_after: secs(1) });
    while !world.machine.in_doubt() {
        world.run_until(world.now + Duration::from_millis(10));
    }
    world.run_until(world.now + RTT * 2);
    assert!(!world.machine.in_doubt(), "it lives");
    assert_eq!(world.connected(), Some(0));
    world.hosts[0] = Host::Up;
    world.run_until(world.now + secs(20));
    assert_eq!((world.connected(), world.switches()), (Some(0), 0));
}

#[test]
fn a_master_that_no_longer_takes_our_key_is_left() {
    for soft in [Soft::Rejected, Soft::Denied, Soft::Draining { retry_after: secs(5) }] {
        let mut world = World::new(policy(2), &[Host::Up; 2]);
        world.run_until(secs(30));
        world.sever();
        world.hosts[0] = Host::Says(soft);
        world.run_until(secs(36));
        assert_eq!(world.connected(), Some(1), "{soft:?}");
        assert_eq!(world.states()[0], Ready::NotReady(Verdict::Soft(soft)));
    }
}

#[test]
fn a_master_that_never_answers_heartbeats_does_not_keep_us_busy() {
    // With a better one at hand we go there once; with none we stay and stop wondering.
    for (hosts, home) in [([Host::Dumb, Host::Up], 1), ([Host::Dumb, Host::Dumb], 0)] {
        let mut world = World::new(policy(2), &hosts);
        world.run_until(secs(300));
        let (refreshes, switches) = (world.refreshes(), world.switches());
        assert!(refreshes <= 6 && switches <= 2, "{refreshes} {switches}");
        world.run_until(secs(3600));
        assert_eq!((world.refreshes(), world.switches()), (refreshes, switches));
        assert!(world.connected().is_some());
        if home == 1 {
            assert_eq!(world.connected(), Some(1));
        }
        // Silence of the other kind is still noticed.
        let here = world.connected().unwrap();
        world.hosts[here] = Host::BlackHole;
        world.run_until(secs(3610));
        assert_eq!(world.connected(), Some(1 - here));
    }
}

#[test]
fn a_process_that_slept_blames_nobody() {
    for seconds in [2u64, 10, 3600, 1_000_000] {
        let mut world = World::new(policy(2), &[Host::Up; 2]);
        world.run_until(secs(30));
        // Asleep with a question open: nothing is handled, the clock goes on.
        while world.inbox.is_empty() {
            world.run_until(world.now + Duration::from_millis(1));
        }
        world.inbox.clear();
        world.now += secs(seconds);
        world.tell(Input::Wake);
        world.run_until(world.now + secs(60));
        assert_eq!((world.connected(), world.switches()), (Some(0), 0), "{seconds} s");
        world.stop();
    }
}

#[test]
fn a_host_that_sleeps_all_the_time_still_leaves_a_dead_master() {
    let mut world = World::new(policy(2), &[Host::Up; 2]);
    world.run_until(secs(30));
    world.hosts[0] = Host::BlackHole;
    for _ in 0..60 {
        // Each timer rings two seconds late.
        let end = world.now + secs(2);
        world.now = end;
        world.tell(Input::Wake);
        let due: Vec<_> = std::mem::take(&mut world.inbox).into_values().collect();
        due.into_iter().for_each(|input| world.tell(input));
    }
    assert_eq!(world.connected(), Some(1));
}

#[test]
fn with_nowhere_else_to_go_a_slow_master_is_waited_for() {
    let policy = Policy::new(vec!["m1".into()]);
    let mut world = World::new(policy, &[Host::Up]);
    world.run_until(secs(30));
    world.hosts[0] = Host::BlackHole;
    world.run_until(secs(37));
    assert!(world.machine.in_doubt());
    let attempt = world.link().unwrap();
    world.tell(Input::Received { attempt });
    world.tell(Input::Heard { attempt });
    world.hosts[0] = Host::Up;
    world.run_until(secs(600));
    assert_eq!(world.link(), Some(attempt), "the same connection all the time");
    world.stop();
}

#[test]
fn on_a_host_that_is_slow_itself_masters_are_given_more_time() {
    let late = Duration::from_millis(600);
    let mut world = World::new(policy(2), &[Host::Up; 2]);
    world.run_until(secs(30));
    for _ in 0..4 {
        let wake = world.machine.wake_at().unwrap();
        world.now = world.since_start(wake) + late;
        world.tell(Input::Wake);
        world.run_until(world.now + RTT);
    }
    world.hosts[0] = Host::BlackHole;
    let before = world.now;
    while !world.machine.in_doubt() {
        world.run_until(world.now + Duration::from_millis(10));
    }
    assert!(world.now - before > Duration::from_millis(2300), "{:?}", world.now - before);
}
