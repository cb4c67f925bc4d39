//! A master dies, and its minions go to another one that has a hundred of its own: how long until
//! all answer there, and whether the other one keeps answering for its own meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::daemon;
use super::goal::Goal;
use super::herd::{self, Herd, Kind};
use super::publisher::Publisher;
use super::sign_in::joined;
use super::trial::{Trial, Watch};
use super::{Bench, Plan};
use crate::{Fleet, Master, Peer, wait};

pub const BENCH: Bench = Bench {
    name: "death",
    about: "a master is killed, until all of its minions answer on another one",
    sizes: &[1000, 10_000],
    quick: &[1000, 10_000],
    per: (1000.0, "minions"),
    trials: (2, 1),
    measure,
    goals: |_, size| {
        let most = (size == 10_000).then_some(Goal::Seconds(20.0));
        [Goal::All, Goal::More(SLOWEST, 1.0), Goal::More(UNANSWERED, 0.0)]
            .into_iter()
            .chain(most)
            .collect()
    },
};

const SLOWEST: &str = "survivor's slowest answer s";
const UNANSWERED: &str = "survivor's own, unanswered";
/// The survivor's own minions.
const OWN: usize = 100;

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    const WHAT: &str = "death of a master";
    herd::keys();
    let fleet = Fleet::new(peer, Peer::Saltern);
    let (first, second) = pair(&fleet);
    let verify = second.pki().join("master_sign.pub");
    let extra = ["--verify", verify.to_str().unwrap(), "--bare", "--rate"];
    let rate = rate(peer, size);
    let extra: Vec<&str> = extra.into_iter().chain([rate.as_str()]).collect();
    let begun = Instant::now();
    let start = |masters: &[&Master], id, count, aside| {
        Herd::start(&Kind { masters, id, first: 0, count, extra: &extra, aside })
    };
    let own = start(&[&second], "own-{n}", OWN, false);
    // Thousands that all connect at once would keep the cores of this machine from the master, and
    // it is the master that is measured.
    let many = start(&[&first, &second], "swarm-{n:05}", size, true);
    for herd in [&own, &many] {
        if let Err(trial) = joined(herd, begun, plan) {
            return vec![(WHAT, *trial)];
        }
    }
    let ready = stand_by(&many, plan);
    // Nothing is done for the first time when the master dies.
    let mut publisher = Publisher::new(&second);
    wait::until("the survivor's own minions to answer", || {
        publisher.ping("glob", "own-*", 10.0).filter(|a| a.answered == OWN)
    });
    let trial = die(first, second, &many, publisher, plan);
    vec![(WHAT, trial.with("had signed in there before", ready as f64))]
}

/// Minions started a second by each process of the many. Their start is not what is measured: it
/// costs a sign-in at either master and as much for the minions.
fn rate(peer: Peer, size: usize) -> String {
    let all = if peer.is_saltern() { 350 } else { 120 };
    (all / herd::processes(2, size)).max(1).to_string()
}

/// Waits until the many have signed in at the other master as well, as they do by themselves within
/// seconds of their start; how many have.
fn stand_by(many: &Herd, plan: &Plan) -> usize {
    let end = Instant::now() + Duration::from_secs_f64(plan.limit());
    loop {
        let ready = (many.sum("sign_ins") as usize).saturating_sub(many.count);
        if ready >= many.count || Instant::now() > end {
            return ready.min(many.count);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn die(
    mut first: Master,
    mut second: Master,
    many: &Herd,
    mut publisher: Publisher,
    plan: &Plan,
) -> Trial {
    let (over, ready) = (AtomicBool::new(false), AtomicBool::new(false));
    let own = Publisher::new(&second);
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| keep_pinging(own, &over, &ready));
        while !ready.load(Ordering::Relaxed) && !pings.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let watch = Watch::master(&mut second);
        let killed = Instant::now();
        let seconds = || killed.elapsed().as_secs_f64();
        first.process().kill();
        let connected = many.connected(killed, plan.limit());
        let back = seconds();
        let mut answered = 0;
        while connected == many.count && answered < many.count && seconds() < plan.limit() {
            let answer = publisher.ping("glob", "swarm-*", plan.limit());
            answered = answer.map_or(0, |a| a.answered);
        }
        let done = if connected == many.count { answered } else { connected };
        let trial = watch.end(done as f64, many.count as f64);
        over.store(true, Ordering::Relaxed);
        let pings = pings.join().unwrap();
        trial
            .with("all there s", back)
            .with(SLOWEST, pings.slowest)
            .with(UNANSWERED, pings.unanswered as f64)
            .with("survivor's pings", pings.count as f64)
    })
}

#[derive(Default)]
struct Pings {
    count: usize,
    slowest: f64,
    unanswered: usize,
}

/// Pings the survivor's own minions all the time.
fn keep_pinging(mut publisher: Publisher, over: &AtomicBool, ready: &AtomicBool) -> Pings {
    let mut pings = Pings::default();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answered = publisher.ping("glob", "own-*", 30.0).map_or(0, |a| a.answered);
        pings.count += 1;
        pings.slowest = pings.slowest.max(begun.elapsed().as_secs_f64());
        pings.unanswered += OWN.saturating_sub(answered);
        ready.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(50));
    }
    pings
}

/// Two masters with keys of their own and one signing pair.
fn pair(fleet: &Fleet) -> (Master, Master) {
    let extra = "auto_accept: True\nmaster_sign_pubkey: True";
    let mut first = daemon::prepare(fleet, "m1", extra);
    let mut second = daemon::prepare(fleet, "m2", extra);
    daemon::start(&mut first);
    std::fs::create_dir_all(second.pki()).unwrap();
    for file in ["master_sign.pem", "master_sign.pub"] {
        std::fs::copy(first.pki().join(file), second.pki().join(file)).unwrap();
    }
    daemon::start(&mut second);
    (first, second)
}
