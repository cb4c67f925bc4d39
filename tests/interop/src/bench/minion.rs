//! A minion: from its start until it is connected, and what it takes when it has nothing to do.

use std::time::{Duration, Instant};

use super::daemon;
use super::goal::Goal;
use super::listeners::Listener;
use super::trial::Watch;
use super::{Bench, Plan, Trial, proc};
use crate::{Fleet, Minion, Peer};

pub const BENCH: Bench = Bench {
    name: "minion",
    about: "a minion from its start until it is connected, and idle",
    sizes: &[1],
    quick: &[1],
    per: (1.0, "starts"),
    trials: (5, 1),
    measure,
    goals: |what, _| match what {
        IDLE => vec![Goal::Memory(10.0)],
        _ => vec![Goal::All],
    },
};

const START: &str = "minion, to connected";
const IDLE: &str = "minion, connected and idle";

fn measure(peer: Peer, _: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    // Its own kind of master: what a minion costs does not depend on it.
    let fleet = Fleet::new(peer, peer);
    let mut master = daemon::prepare(&fleet, "m", "");
    let mut minion = fleet.minion("min", &[&master], "");
    quiet(&minion);
    daemon::start(&mut master);
    let public = minion.make_keys(&master);
    master.preseed("min", &public);
    let mut listener = Listener::new(&master);
    let begun = Instant::now();
    minion.start();
    let there = listener.hears("salt/minion/min/start", Duration::from_secs_f64(plan.limit()));
    let seconds = begun.elapsed().as_secs_f64();
    if !there {
        return vec![(START, Trial::failed(format!("ended after {seconds:.0} s: not connected")))];
    }
    let pid = minion.process().pid();
    let cpu = Some(proc::cpu_seconds(pid));
    let start = Trial { seconds: Some(seconds), cpu, ..Watch::process(pid).end(1.0, 1.0) };
    // Idle means that the start is over: helper threads and forks of the first job have ended.
    std::thread::sleep(Duration::from_secs(10));
    let idle = Watch::process(pid).end(1.0, 1.0);
    vec![(START, start), (IDLE, Trial { seconds: None, cpu: None, ..idle })]
}

/// Takes back the log full of details that tests want.
pub(super) fn quiet(minion: &Minion) {
    let text = "log_level: warning\nlog_level_logfile: warning\n";
    std::fs::write(minion.conf().join("minion.d/bench.conf"), text).unwrap();
}
