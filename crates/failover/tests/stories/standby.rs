//! The masters that are not in use: what is known of them, and how soon they can be.

use std::time::Duration;

use saltern_failover::*;

use crate::world::*;

fn ready(world: &World) -> usize {
    world.states().iter().filter(|state| **state == Ready::Ready).count()
}

#[test]
fn ten_masters_are_known_within_ten_seconds_and_two_links_are_kept() {
    for seed in 0..20 {
        let mut hosts = vec![Host::Up; 10];
        hosts[3] = Host::BlackHole;
        hosts[7] = Host::Says(Soft::Pending);
        let mut world = World::seeded(policy(10), &hosts, seed);
        world.run_until(secs(10));
        assert_eq!(world.states()[0], Ready::Current);
        assert_eq!(ready(&world), 7, "seed {seed}");
        assert_eq!(world.states()[7], Ready::NotReady(Verdict::Soft(Soft::Pending)));
        assert_eq!(world.kept.iter().map(|m| m.0).collect::<Vec<_>>(), [1, 2]);
        world.run_until(secs(20));
        assert_eq!(world.states()[3], Ready::NotReady(Verdict::Soft(Soft::Timeout)));
        world.stop();
    }
}

#[test]
fn each_is_signed_in_at_again_at_the_interval_and_no_more_often() {
    let mut policy = policy(4);
    policy.standby_interval = secs(600);
    let mut world = World::new(policy, &[Host::Up; 4]);
    world.run_until(secs(36_000));
    for master in 1..4 {
        let times = world.prepared(master);
        assert!((45..=85).contains(&times), "master {master}: {times}");
    }
}

#[test]
fn switched_off_nobody_else_is_asked() {
    let mut policy = policy(4);
    policy.standby = false;
    let mut world = World::new(policy, &[Host::Up; 4]);
    world.run_until(secs(3600));
    assert_eq!(world.count(|a| matches!(a, Action::Prepare { .. })), 0);
    assert!(world.kept.is_empty());
    assert_eq!(world.states()[1], Ready::Unknown);
    world.kill(0);
    world.run_until(world.now + RTT);
    assert_eq!(world.connected(), Some(1));
}

#[test]
fn a_switch_uses_the_kept_link_of_the_first_ready_master() {
    let mut world = World::new(policy(4), &[Host::Up, Host::Refuses, Host::Up, Host::Up]);
    world.run_until(secs(20));
    world.kill(0);
    world.run_until(world.now + RTT);
    assert_eq!(world.connected(), Some(2), "the second is known not to answer");
    let warm = |a: &Action| matches!(a, Action::Try { master: Master(2), warm: true, .. });
    assert_eq!(world.count(warm), 1);
    assert_eq!(world.tries(1), 0);
    world.run_until(world.now + secs(20));
    assert_eq!(world.states()[0], Ready::NotReady(Verdict::Soft(Soft::Refused)));
    world.stop();
}

#[test]
fn a_standby_that_died_unnoticed_costs_no_more_than_a_head_start() {
    let mut world = World::new(policy(3), &[Host::Up; 3]);
    world.run_until(secs(20));
    world.hosts[1] = Host::BlackHole;
    world.kill(0);
    world.run_until(world.now + Policy::HEAD_START + RTT);
    assert_eq!(world.connected(), Some(2));
    world.run_until(world.now + secs(60));
    world.held_is_bounded();
    world.stop();
}

#[test]
fn a_kept_link_that_closes_is_made_again_after_a_growing_pause() {
    let mut world = World::new(policy(2), &[Host::Up; 2]);
    for second in 1..=600 {
        world.run_until(secs(second));
        if world.kept.remove(&Master(1)) {
            world.tell(Input::Cooled { master: Master(1) });
            assert_eq!(world.states()[1], Ready::Unknown);
        }
    }
    assert!(world.prepared(1) >= 4, "{}", world.prepared(1));
    assert!(world.prepared(1) <= 15, "{}", world.prepared(1));
    world.run_until(secs(1800));
    assert_eq!(ready(&world), 1);
    assert!(world.kept.contains(&Master(1)));
}

#[test]
fn a_pending_key_is_known_to_be_accepted_soon_after_it_was() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Says(Soft::Pending)]);
    world.run_until(secs(60));
    let asked = world.prepared(1);
    assert!((3..=12).contains(&asked), "{asked}");
    world.hosts[1] = Host::Up;
    world.run_until(secs(180));
    assert_eq!(ready(&world), 1);
    assert_eq!(world.connected(), Some(0));
}

#[test]
fn an_unreachable_standby_is_asked_at_most_about_once_a_minute() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Refuses]);
    world.run_until(secs(3600));
    let asked = world.prepared(1);
    assert!((60..=250).contains(&asked), "{asked}");
    world.hosts[1] = Host::Up;
    world.run_until(secs(3661));
    assert_eq!(ready(&world), 1);
}

#[test]
fn readiness_is_told_when_it_changes_and_only_then() {
    let mut world = World::new(policy(3), &[Host::Up; 3]);
    world.run_until(secs(20));
    let told = |world: &World| world.count(|a| matches!(a, Action::Notify(Notice::Readiness)));
    assert_eq!(told(&world), 3, "current, and two that are ready");
    world.hosts[2] = Host::Says(Soft::Busy { retry_after: secs(7) });
    world.run_until(secs(1800));
    assert_eq!(told(&world), 4);
    world.hosts[2] = Host::Says(Soft::Busy { retry_after: secs(9) });
    world.run_until(secs(1900));
    assert_eq!(told(&world), 4, "how long it is busy is no news");
}

#[test]
fn nothing_is_prepared_while_there_is_no_master() {
    let mut world = World::new(policy(3), &[Host::Up, Host::BlackHole, Host::BlackHole]);
    world.run_until(Duration::from_millis(1200));
    world.kill(0);
    let before = world.count(|a| matches!(a, Action::Prepare { .. }));
    world.run_until(secs(300));
    assert_eq!(world.connected(), None);
    assert_eq!(world.count(|a| matches!(a, Action::Prepare { .. })), before);
    world.stop();
}

#[test]
fn the_latency_is_that_of_the_master_in_use() {
    let mut world = World::new(policy(2), &[Host::Up; 2]);
    assert_eq!(world.machine.latency(), None);
    world.run_until(secs(30));
    assert_eq!(world.machine.latency(), Some(RTT));
}
