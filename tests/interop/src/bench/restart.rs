//! A master is restarted under its minions: how long until all are back and answer.

use std::time::Instant;

use super::daemon;
use super::goal::Goal;
use super::publisher::Publisher;
use super::sign_in::connected;
use super::trial::{Trial, Watch};
use super::{Bench, Plan};
use crate::Peer;

pub const BENCH: Bench = Bench {
    name: "restart",
    about: "a master is restarted under its minions, until all are back and answer",
    sizes: &[1000, 10_000],
    quick: &[1000, 10_000],
    per: (1000.0, "minions"),
    trials: (2, 1),
    measure,
    goals: |_, _| vec![Goal::All],
};

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    const WHAT: &str = "restart of the master";
    let (_fleet, mut master) = daemon::running(peer);
    let herd = match connected(&master, size, plan) {
        Ok(herd) => herd,
        Err(trial) => return vec![(WHAT, *trial)],
    };
    let begun = Instant::now();
    let seconds = || begun.elapsed().as_secs_f64();
    master.process().stop();
    let stopped = seconds();
    daemon::start(&mut master);
    let up = seconds();
    let watch = Watch::master(&mut master);
    let connected = herd.connected(begun, plan.limit());
    let back = seconds();
    let mut answered = 0;
    let mut publisher = Publisher::new(&master);
    while connected == size && answered < size && seconds() < plan.limit() {
        answered = publisher.ping("glob", "*", plan.limit()).map_or(0, |a| a.answered);
    }
    let took = seconds();
    let done = if connected == size { answered } else { connected };
    let trial = watch.end(done as f64, size as f64);
    let trial = Trial { seconds: trial.seconds.map(|_| took), ..trial };
    let trial = trial.with("stopped s", stopped).with("ports open s", up);
    vec![(WHAT, trial.with("all back s", back))]
}
