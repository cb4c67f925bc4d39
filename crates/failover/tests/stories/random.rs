//! Inputs by chance, sensible and not, from seeds: what must always hold is checked by the world
//! after each of them (one connection in use at most, only what was reached is used, no wake in
//! the past, nothing left over at the end).

use std::time::Duration;

use saltern_failover::*;

use crate::world::*;

fn host(rng: &mut fastrand::Rng) -> Host {
    let retry_after = Duration::from_millis(rng.u64(0..40_000));
    let softs = [
        Soft::Unresolved,
        Soft::Refused,
        Soft::Timeout,
        Soft::Full,
        Soft::Pending,
        Soft::Rejected,
        Soft::Denied,
        Soft::Broken,
        Soft::Busy { retry_after },
        Soft::Draining { retry_after },
        Soft::Clock { ahead: -7 },
    ];
    match rng.u8(0..16) {
        0..6 => Host::Up,
        6 => Host::Refuses,
        7 => Host::BlackHole,
        8 => Host::Impostor,
        9 => Host::OnlyPings,
        10 => Host::NoPublications,
        11 => Host::NoRequests,
        12 => Host::Dumb,
        _ => Host::Says(softs[rng.usize(0..softs.len())]),
    }
}

fn policy(rng: &mut fastrand::Rng, masters: usize) -> Policy {
    let mut some = |limit: u64| rng.bool().then(|| Duration::from_millis(rng.u64(1..limit)));
    Policy {
        alive_interval: some(60_000).map(|interval| interval.max(secs(1))),
        failback_interval: some(60_000),
        heartbeat_interval: some(5_000),
        probe_interval: some(5_000),
        attempt_timeout: some(20_000).unwrap_or(secs(5)).max(RTT * 2),
        acceptance_wait: some(30_000).unwrap_or_default(),
        acceptance_wait_max: some(90_000).unwrap_or_default(),
        standby: rng.u8(0..4) > 0,
        standby_interval: Duration::from_millis(rng.u64(0..900_000)),
        selection: if rng.bool() { Selection::Listed } else { Selection::Shuffled },
        ..Policy::new((0..masters).map(|i| format!("m{i}")).collect())
    }
}

fn input(rng: &mut fastrand::Rng, world: &World) -> Input {
    let masters = world.hosts.len();
    let some_attempt = Attempt(rng.u64(0..200));
    let attempt = world.link().filter(|_| rng.u8(0..4) > 0).unwrap_or(some_attempt);
    let probe = Probe(rng.u64(0..400));
    match rng.u8(0..12) {
        0 => Input::Lost { attempt, reason: LossReason::Closed },
        1 => Input::Lost { attempt: some_attempt, reason: LossReason::SignedOut },
        2 => Input::Probed { probe, result: ProbeResult::Failed },
        3 => Input::Probed { probe, result: ProbeResult::Refused },
        4 => Input::Heard { attempt },
        5 => Input::Received { attempt },
        6 => Input::Suspect { attempt },
        7 => Input::Wake,
        8 => Input::Start,
        9 => Input::Leave { to: None, why: LeaveReason::Drain },
        10 => {
            let to = rng.bool().then(|| Master(rng.usize(0..masters + 1)));
            Input::Leave {
                to,
                why: if rng.bool() { LeaveReason::Asked } else { LeaveReason::Drain },
            }
        }
        // An answer to nothing that is under way.
        _ => Input::Verdict { attempt: Attempt(u64::MAX), verdict: Verdict::Ok },
    }
}

fn story(seed: u64) -> World {
    let mut rng = fastrand::Rng::with_seed(seed);
    let masters = rng.usize(1..6);
    let hosts: Vec<Host> = (0..masters).map(|_| host(&mut rng)).collect();
    let policy = policy(&mut rng, masters);
    let mut world = World::seeded(policy, &hosts, seed);
    for _ in 0..150 {
        match rng.u8(0..8) {
            0 => {
                let at = rng.usize(0..masters);
                world.hosts[at] = host(&mut rng);
            }
            1 => world.sever(),
            2 => {
                let at = rng.usize(0..masters);
                if rng.bool() {
                    world.kill(at);
                } else if world.kept.remove(&Master(at)) {
                    world.tell(Input::Cooled { master: Master(at) });
                }
            }
            3 if rng.u8(0..10) == 0 => {
                // The process sleeps.
                world.now += Duration::from_millis(rng.u64(0..100_000));
            }
            _ => {
                let input = input(&mut rng, &world);
                world.tell(input);
            }
        }
        let longest = if rng.bool() { 300 } else { 20_000 };
        let pause = rng.u64(1..longest);
        world.run_until(world.now + Duration::from_millis(pause));
        world.held_is_bounded();
    }
    world
}

#[test]
fn whatever_happens_nothing_is_left_over_and_a_working_master_is_found_at_last() {
    for seed in 0..400 {
        let mut world = story(seed);
        let before = world.actions.len();
        // Then all is well again.
        for at in 0..world.hosts.len() {
            world.hosts[at] = Host::Up;
        }
        world.severed.clear();
        world.run_until(world.now + secs(600));
        assert!(world.connected().is_some(), "seed {seed}: {:?}", world.machine.status());
        let per_second = (world.actions.len() - before) / 600;
        assert!(per_second < 500, "seed {seed}: {per_second} actions a second");
        world.stop();
        assert!(world.inbox.len() < 1000);
    }
}

#[test]
fn equal_seeds_replay_exactly() {
    for seed in [3, 77, 1234] {
        assert_eq!(story(seed).actions, story(seed).actions);
    }
}
