//! The first master, the next one, and none at all.

use std::time::Duration;

use saltern_failover::*;

use crate::world::*;

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
    let (m1, m2) = (Master(0), Master(1));
    let (from, reason) = (Some(m1), LossReason::Closed);
    assert_eq!(
        world.notices(),
        [
            Notice::Connected(m1),
            Notice::Disconnected(m1),
            Notice::Connected(m2),
            Notice::Switched { from, to: m2, reason, gap: RTT },
        ]
    );
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
fn masters_that_die_one_after_the_other_are_left_at_once() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Up]);
    for round in 1..=6u64 {
        world.run_until(secs(round));
        let dying = world.connected().expect("connected a second after the last loss");
        let at = world.now;
        world.close();
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
            world.close();
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
    let old = world.link().unwrap();
    world.kill(0);
    world.run_until(secs(21));
    world.tell(Input::Lost { attempt: old, reason: LossReason::Closed });
    world.tell(Input::Probed { probe: Probe(9999), result: ProbeResult::Refused });
    world.tell(Input::Heard { attempt: old });
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

#[test]
fn who_is_busy_or_draining_is_not_asked_before_it_said_and_the_others_are_asked_at_once() {
    for soft in [Soft::Busy { retry_after: secs(30) }, Soft::Draining { retry_after: secs(30) }] {
        let mut world = World::new(policy(2), &[Host::Says(soft), Host::Up]);
        world.run_until(RTT * 2);
        assert_eq!(world.connected(), Some(1));
        world.kill(1);
        world.run_until(secs(29));
        assert_eq!((world.connected(), world.tries(0)), (None, 1));
        world.hosts[0] = Host::Up;
        world.run_until(secs(45));
        assert_eq!(world.connected(), Some(0));
    }
}

#[test]
fn all_busy_is_waited_out() {
    let busy = Host::Says(Soft::Busy { retry_after: secs(3) });
    let mut world = World::new(policy(2), &[busy; 2]);
    world.run_until(secs(300));
    assert!((75..=101).contains(&world.tries(0)), "{}", world.tries(0));
    // An absurd time is not believed.
    world.hosts = vec![Host::Says(Soft::Draining { retry_after: Duration::MAX }); 2];
    world.run_until(secs(310));
    world.hosts = vec![Host::Up; 2];
    world.run_until(secs(310) + Policy::RETRY_AFTER_MAX * 2);
    assert!(world.connected().is_some());
}

#[test]
fn a_thousand_masters_of_which_the_last_one_works() {
    let mut hosts = vec![Host::Refuses; 999];
    hosts.push(Host::Up);
    let mut world = World::new(policy(1000), &hosts);
    world.run_until(secs(30));
    assert_eq!(world.connected(), Some(999));
    world.run_until(secs(300));
    // Looked after in the background, at a rate anybody can bear.
    assert!(world.actions.iter().filter(|(at, _)| *at > secs(60)).count() < 240 * 14);
    world.held_is_bounded();
    world.stop();
}

#[test]
fn no_masters_at_all_is_quiet() {
    let mut world = World::new(policy(0), &[]);
    world.run_until(secs(60));
    assert_eq!(world.connected(), None);
    world.stop();
}

#[test]
fn absurd_times_are_survived() {
    let mut policy = policy(2);
    policy.alive_interval = Some(Duration::MAX);
    policy.failback_interval = Some(Duration::MAX);
    policy.attempt_timeout = Duration::MAX;
    policy.acceptance_wait = Duration::MAX;
    policy.acceptance_wait_max = Duration::MAX;
    policy.standby_interval = Duration::ZERO;
    let mut world = World::new(policy, &[Host::Says(Soft::Pending), Host::Up]);
    world.run_until(secs(600));
    assert_eq!(world.connected(), Some(1));
    world.close();
    world.run_until(secs(660));
    assert_eq!(world.connected(), Some(1));
}
