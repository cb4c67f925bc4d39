//! A minion that is connected and has nothing to do: proportional memory of its processes.

use std::time::Duration;

use super::{Figure, Target, proc};
use crate::{Fleet, Peer};

const TRIALS: usize = 3;

pub fn run() -> Vec<Figure> {
    let measure = |peer| (0..TRIALS).map(|_| idle(peer)).collect();
    vec![Figure {
        what: "minion, connected and idle: memory",
        unit: "MiB",
        saltern: measure(Peer::Saltern),
        salt: measure(Peer::Salt3006),
        target: Target::AtMost(10.0),
    }]
}

fn idle(peer: Peer) -> f64 {
    // Its own kind of master: what a minion costs does not depend on it.
    let fleet = Fleet::new(peer, peer);
    let (_master, mut minion) = fleet.pair("", "");
    // Idle means that the start is over: helper threads and forks of the first job have ended.
    std::thread::sleep(Duration::from_secs(10));
    proc::memory_mib(minion.process().pid())
}
