//! A master with a hundred minions that are whole programs, of Saltern in all cases: memory, and
//! CPU per return.

use super::goal::Goal;
use super::publisher::Publisher;
use super::trial::Watch;
use super::{Bench, Plan, Trial, daemon};
use crate::{Fleet, Master, Minion, Peer, wait};

pub const BENCH: Bench = Bench {
    name: "master",
    about: "salt '*' test.ping to 100 minions that are programs of their own",
    sizes: &[100],
    quick: &[100],
    per: (1000.0, "returns"),
    trials: (3, 1),
    measure,
    goals: |_, _| vec![Goal::All, Goal::CpuOfSalt(0.1), Goal::MemoryOfSalt(0.1)],
};

const JOBS: usize = 20;

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    let (fleet, mut master) = daemon::running(peer);
    let _minions = minions(&fleet, &master, size);
    let mut publisher = Publisher::new(&master);
    all_answer(&mut publisher, size);
    let watch = Watch::master(&mut master);
    let ping = |_| publisher.ping("glob", "*", plan.limit()).map_or(0, |a| a.answered);
    let answered: usize = (0..JOBS).map(ping).sum();
    let trial = watch.end(answered as f64, (JOBS * size) as f64);
    vec![("20 times test.ping to 100 whole minions", trial)]
}

/// Whole minions of ours, `min0` and on.
pub(super) fn minions(fleet: &Fleet, master: &Master, count: usize) -> Vec<Minion> {
    let start = |number| {
        let mut minion = fleet.minion(&format!("min{number}"), &[master], "");
        super::minion::quiet(&minion);
        minion.start();
        minion
    };
    (0..count).map(start).collect()
}

pub(super) fn all_answer(publisher: &mut Publisher, count: usize) {
    wait::until("all minions to answer", || {
        publisher.ping("glob", "*", 20.0).filter(|a| a.answered == count)
    });
}
