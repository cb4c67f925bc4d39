//! Leaving on purpose: on command, for maintenance, back to the preferred master.

use std::time::Duration;

use saltern_failover::*;

use crate::world::*;

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
    let old = world.link().unwrap();
    world.run_until(secs(300));
    assert_eq!(world.connected(), Some(0));
    let at = |wanted: &dyn Fn(&Action) -> bool| {
        world.actions.iter().position(|(_, action)| wanted(action)).unwrap()
    };
    let new = world.link().unwrap();
    let adopted = at(&|a| matches!(a, Action::Adopt { attempt, .. } if *attempt == new));
    let left = at(&|a| matches!(a, Action::Disconnect { attempt, .. } if *attempt == old));
    assert!(adopted < left, "no moment without a master");
}

#[test]
fn leaving_on_command_goes_to_another_master() {
    let mut world = World::new(policy(2), &[Host::Up, Host::Up]);
    world.run_until(secs(20));
    world.tell(Input::Leave { to: None, why: LeaveReason::Asked });
    world.run_until(secs(21));
    assert_eq!(world.connected(), Some(1));
}

fn asked(to: Option<usize>) -> Input {
    Input::Leave { to: to.map(Master), why: LeaveReason::Asked }
}

fn drain(to: Option<usize>) -> Input {
    Input::Leave { to: to.map(Master), why: LeaveReason::Drain }
}

/// Runs until connected to the first of so many and all others are known to be ready.
fn settled(hosts: &[Host]) -> World {
    let mut world = World::new(policy(hosts.len()), hosts);
    world.run_until(secs(20));
    world
}

#[test]
fn to_a_named_master_the_new_connection_comes_first() {
    let mut world = settled(&[Host::Up; 3]);
    let old = world.link().unwrap();
    world.tell(asked(Some(2)));
    assert_eq!(world.connected(), Some(0), "not before it took us");
    world.run_until(world.now + RTT);
    assert_eq!(world.connected(), Some(2));
    let switch = world.machine.last_switch().unwrap();
    assert_eq!((switch.from, switch.to), (Some(Master(0)), Master(2)));
    assert_eq!((switch.reason, switch.gap), (LossReason::Asked, Duration::ZERO));
    let left = |a: &Action| matches!(a, Action::Disconnect { attempt, .. } if *attempt == old);
    assert_eq!(world.count(left), 1);
    assert!(!world.notices().contains(&Notice::Disconnected(Master(0))), "never without one");
    world.stop();
}

#[test]
fn a_named_master_that_refuses_leaves_us_where_we_are_and_says_why() {
    for (host, verdict) in [
        (Host::Refuses, Verdict::Soft(Soft::Refused)),
        (Host::Says(Soft::Pending), Verdict::Soft(Soft::Pending)),
        (Host::Impostor, Verdict::Hard(Hard::UntrustedKey)),
        (Host::BlackHole, Verdict::Soft(Soft::Timeout)),
    ] {
        let mut world = settled(&[Host::Up, Host::Up, host]);
        world.tell(asked(Some(2)));
        world.run_until(world.now + secs(6));
        assert_eq!(world.connected(), Some(0));
        let failed = Notice::LeaveFailed { to: Some(Master(2)), verdict: Some(verdict) };
        assert_eq!(world.notices().last(), Some(&failed));
        world.stop();
    }
}

#[test]
fn asked_to_leave_with_nowhere_to_go_we_stay() {
    let mut world = settled(&[Host::Up]);
    world.tell(asked(None));
    world.tell(asked(Some(7)));
    world.run_until(world.now + secs(60));
    assert_eq!(world.connected(), Some(0));
    let failed = |to: Option<usize>| Notice::LeaveFailed { to: to.map(Master), verdict: None };
    assert_eq!(world.notices()[1..], [failed(None), failed(Some(7))]);
}

#[test]
fn a_draining_master_is_left_for_the_named_one_or_any_other() {
    for (third, home) in [(Host::Up, 2), (Host::Refuses, 1)] {
        let mut world = settled(&[Host::Up, Host::Up, third]);
        let draining = Soft::Draining { retry_after: secs(5) };
        world.hosts[0] = Host::Says(draining);
        world.tell(drain(Some(2)));
        world.run_until(world.now + secs(1));
        assert_eq!(world.connected(), Some(home));
        assert_eq!(world.machine.last_switch().unwrap().reason, LossReason::Drained);
        assert!(matches!(world.states()[0], Ready::NotReady(Verdict::Soft(Soft::Draining { .. }))));
        assert_eq!(world.machine.order().last(), Some(&Master(0)));
    }
}

#[test]
fn a_drain_with_nobody_else_is_tried_until_somebody_is_there() {
    let mut world = settled(&[Host::Up, Host::Refuses]);
    world.tell(drain(None));
    world.run_until(world.now + secs(60));
    assert_eq!(world.connected(), Some(0), "better a draining master than none");
    assert!(world.tries(1) >= 5 && world.tries(1) <= 25, "{}", world.tries(1));
    world.hosts[1] = Host::Up;
    world.run_until(world.now + secs(10));
    assert_eq!(world.connected(), Some(1));
    world.stop();
}

#[test]
fn a_drain_that_is_taken_back_ends_the_attempts() {
    let mut world = settled(&[Host::Up, Host::Refuses]);
    world.tell(drain(None));
    world.run_until(world.now + secs(20));
    world.tell(drain(Some(0)));
    let tries = world.tries(1);
    world.hosts[1] = Host::Up;
    world.run_until(world.now + secs(600));
    assert_eq!((world.connected(), world.tries(1)), (Some(0), tries));
}

#[test]
fn a_drained_master_that_closes_before_we_left_is_simply_lost() {
    let mut world = settled(&[Host::Up, Host::BlackHole, Host::Up]);
    world.tell(drain(Some(1)));
    world.run_until(world.now + Duration::from_millis(500));
    world.kill(0);
    world.run_until(world.now + secs(1));
    assert_eq!(world.connected(), Some(2));
    world.stop();
}

#[test]
fn failback_does_not_go_to_a_draining_master_and_comes_after_it_is_open_again() {
    let mut policy = policy(2);
    policy.failback_interval = Some(secs(10));
    let mut world = World::new(policy, &[Host::Up; 2]);
    world.run_until(secs(20));
    world.hosts[0] = Host::Says(Soft::Draining { retry_after: secs(30) });
    world.tell(drain(None));
    world.run_until(secs(600));
    assert_eq!((world.connected(), world.switches()), (Some(1), 1));
    assert!(world.tries(0) <= 25, "asked no more often than it said: {}", world.tries(0));
    world.hosts[0] = Host::Up;
    world.run_until(secs(720));
    assert_eq!(world.connected(), Some(0));
    assert_eq!(world.machine.last_switch().unwrap().reason, LossReason::Failback);
    world.stop();
}

#[test]
fn what_an_operator_wants_is_not_undone_by_failback_until_that_connection_ends() {
    let mut policy = policy(3);
    policy.failback_interval = Some(secs(10));
    let mut world = World::new(policy, &[Host::Up; 3]);
    world.run_until(secs(20));
    world.tell(asked(Some(1)));
    world.run_until(secs(600));
    assert_eq!(world.connected(), Some(1));
    world.kill(1);
    world.run_until(secs(660));
    assert_eq!(world.connected(), Some(0));
}

#[test]
fn a_wish_without_a_connection_says_where_to_look_first() {
    let mut world = World::new(policy(3), &[Host::BlackHole, Host::Up, Host::Up]);
    world.tell(asked(Some(2)));
    world.run_until(secs(2));
    assert_eq!(world.connected(), Some(2));
}

#[test]
fn to_leave_while_in_doubt_ends_the_doubt() {
    let mut world = settled(&[Host::Up; 3]);
    world.hosts[0] = Host::BlackHole;
    while !world.machine.in_doubt() {
        world.run_until(world.now + Duration::from_millis(10));
    }
    world.tell(asked(Some(2)));
    world.run_until(world.now + RTT * 2);
    assert_eq!(world.connected(), Some(2));
    assert!(!world.machine.in_doubt());
    world.run_until(world.now + secs(30));
    world.held_is_bounded();
    world.stop();
}
