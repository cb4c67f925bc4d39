//! `salt ... test.ping`: to all, and to ten of many. The time is that of the whole tool, the CPU
//! that of the master.

use std::time::Instant;

use super::daemon;
use super::goal::Goal;
use super::herd::{self, Herd, Kind};
use super::publisher::{Answer, Publisher};
use super::sign_in::{connected, joined, pace};
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
    goals: |_, size| match size {
        10_000 => {
            vec![Goal::All, Goal::Seconds(3.0), Goal::CpuOfSalt(1.0 / 20.0), Goal::Memory(250.0)]
        }
        _ => vec![Goal::All],
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

/// Trials with the same fleet, after a job that warms up.
const TRIALS: usize = 3;
/// Returns that a trial needs to have a CPU time that says something, and jobs it has at most.
const RETURNS: usize = 2000;
const JOBS: usize = 20;
/// How many minions a targeted job is for.
const FEW: usize = 10;

fn to_all(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    const WHAT: &str = "salt '*' test.ping";
    let (_fleet, mut master) = daemon::running(peer);
    let _herd = match connected(&master, size, plan) {
        Ok(herd) => herd,
        Err(trial) => return vec![(WHAT, *trial)],
    };
    let mut publisher = Publisher::new(&master);
    let mut jobs = |count| several(&mut master, &mut publisher, ("glob", "*", size), count, plan);
    trials(&mut jobs, size).into_iter().map(|trial| (WHAT, trial)).collect()
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
        let pace = pace(&master);
        let extra: Vec<&str> = ["--grains", grains].into_iter().chain(pace).collect();
        let masters: &[&Master] = &[&master];
        let id = "swarm-{n:05}";
        Herd::start(&Kind { masters, id, first, count, extra: &extra, aside: false })
    };
    let herds = [start(0, size - FEW, &many), start(size - FEW, FEW, &few)];
    for herd in &herds {
        if let Err(trial) = joined(herd, begun, plan) {
            return vec![(LIST, (*trial).clone()), (GRAIN, *trial)];
        }
    }
    let ids: Vec<String> = (0..FEW).map(|n| format!("swarm-{:05}", n * size / FEW)).collect();
    let mut publisher = Publisher::new(&master);
    let mut all = Vec::new();
    for (what, kind, target) in
        [(LIST, "list", ids.join(",")), (GRAIN, "grain", "os:Rare".to_owned())]
    {
        let mut jobs = |count| {
            let target = (kind, target.as_str(), FEW);
            let trial = several(&mut master, &mut publisher, target, count, plan);
            // What counts is the job, not the returns.
            let few = FEW as f64;
            Trial { done: trial.done / few, wanted: trial.wanted / few, ..trial }
        };
        all.extend(trials(&mut jobs, FEW).into_iter().map(|trial| (what, trial)));
    }
    all
}

/// Trials until one fails. The first job only warms up.
fn trials(jobs: &mut dyn FnMut(usize) -> Trial, answers: usize) -> Vec<Trial> {
    let first = jobs(1);
    if !first.complete() {
        return vec![first];
    }
    let count = (RETURNS / answers).clamp(1, JOBS);
    let mut trials: Vec<Trial> = Vec::new();
    while trials.len() < TRIALS && trials.last().is_none_or(Trial::complete) {
        trials.push(jobs(count));
    }
    trials
}

/// Jobs one after the other, each of which `wanted` answers have to come to.
fn several(
    master: &mut Master,
    publisher: &mut Publisher,
    (kind, target, wanted): (&str, &str, usize),
    count: usize,
    plan: &Plan,
) -> Trial {
    let watch = Watch::master(master);
    let answers: Vec<Answer> =
        (0..count).map_while(|_| publisher.ping(kind, target, plan.limit())).collect();
    let answered: usize = answers.iter().map(|a| a.answered).sum();
    let trial = watch.end(answered as f64, (wanted * count) as f64);
    // The tool's own seconds, of one job: of real Salt without the start of Python.
    let seconds = answers.iter().map(|a| a.seconds).sum::<f64>() / count as f64;
    Trial { seconds: trial.seconds.map(|_| seconds), ..trial }
}
