//! `salt ... test.ping`: to all, and to ten of many. The time is that of the whole tool, the CPU
//! that of the master.

use std::time::Instant;

use super::daemon;
use super::goal::Goal;
use super::herd::{self, Herd, Kind};
use super::publisher::Publisher;
use super::sign_in::{connected, joined};
use super::trial::Watch;
use super::{Bench, Plan, Trial};
use crate::{Master, Peer};

pub const TO_ALL: Bench = Bench {
    name: "publish",
    about: "salt '*' test.ping",
    sizes: &[100, 1000, 10_000],
    quick: &[100, 1000, 10_000],
    per: (1000.0, "returns"),
    trials: (2, 1),
    measure: to_all,
    goals: |_, size| {
        let all = [Goal::All, Goal::CpuOfSalt(1.0 / 20.0)];
        let most = (size == 10_000).then_some([Goal::Seconds(3.0), Goal::Memory(250.0)]);
        all.into_iter().chain(most.into_iter().flatten()).collect()
    },
};

pub const TARGETED: Bench = Bench {
    name: "targeted",
    about: "test.ping of ten minions of many: salt -L ... and salt -G os:...",
    sizes: &[1000, 10_000],
    quick: &[1000, 10_000],
    per: (1.0, "jobs"),
    trials: (2, 1),
    measure: targeted,
    goals: |_, _| vec![Goal::All],
};

/// Jobs that follow each other in one trial, after one that warms up.
const JOBS: usize = 5;
/// How many minions a targeted job is for.
const FEW: usize = 10;

fn to_all(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    const WHAT: &str = "salt '*' test.ping";
    let (_fleet, mut master) = daemon::running(peer);
    let _herd = match connected(&master, size, plan) {
        Ok(herd) => herd,
        Err(trial) => return vec![(WHAT, trial)],
    };
    let mut publisher = Publisher::new(&master);
    let mut job = || one(&mut master, &mut publisher, ("glob", "*", size), plan);
    jobs(&mut job).into_iter().map(|trial| (WHAT, trial)).collect()
}

fn targeted(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    const LIST: &str = "salt -L (10 ids) test.ping";
    const GRAIN: &str = "salt -G os:Rare test.ping (10 minions)";
    let (fleet, mut master) = daemon::running(peer);
    herd::keys();
    // Grains of the many and of the few.
    let grains = |name: &str| {
        let path = fleet.root().join(name);
        std::fs::write(&path, format!("os: {name}\nos_family: Debian\nhost: '{{id}}'\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (many, few) = (grains("Common"), grains("Rare"));
    let begun = Instant::now();
    let start = |first, count, grains: &str| {
        let extra = &["--grains", grains];
        let masters: &[&Master] = &[&master];
        Herd::start(&Kind { masters, id: "swarm-{n:05}", first, count, extra })
    };
    let herds = [start(0, size - FEW, &many), start(size - FEW, FEW, &few)];
    for herd in &herds {
        if let Err(trial) = joined(herd, begun, plan) {
            return vec![(LIST, trial.clone()), (GRAIN, trial)];
        }
    }
    let ids: Vec<String> = (0..FEW).map(|n| format!("swarm-{:05}", n * size / FEW)).collect();
    let mut publisher = Publisher::new(&master);
    let mut trials = Vec::new();
    for (what, kind, target) in
        [(LIST, "list", ids.join(",")), (GRAIN, "grain", "os:Rare".to_owned())]
    {
        let mut job = || {
            let trial = one(&mut master, &mut publisher, (kind, &target, FEW), plan);
            // What counts is the job, not the returns.
            let done = if trial.complete() { 1.0 } else { 0.0 };
            Trial { done, wanted: 1.0, ..trial }
        };
        trials.extend(jobs(&mut job).into_iter().map(|trial| (what, trial)));
    }
    trials
}

/// Jobs until one fails. The first one only warms up.
fn jobs(job: &mut dyn FnMut() -> Trial) -> Vec<Trial> {
    let first = job();
    if !first.complete() {
        return vec![first];
    }
    let mut trials: Vec<Trial> = Vec::new();
    while trials.len() < JOBS && trials.last().is_none_or(Trial::complete) {
        trials.push(job());
    }
    trials
}

/// One job; `wanted` answers have to come.
fn one(
    master: &mut Master,
    publisher: &mut Publisher,
    (kind, target, wanted): (&str, &str, usize),
    plan: &Plan,
) -> Trial {
    let watch = Watch::master(master);
    let answer = publisher.ping(kind, target, plan.limit());
    let answered = answer.map_or(0, |a| a.answered);
    let trial = watch.end(answered as f64, wanted as f64);
    // The tool's own seconds: of real Salt without the start of Python.
    Trial { seconds: trial.seconds.and(answer.map(|a| a.seconds)), ..trial }
}
