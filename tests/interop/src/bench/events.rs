//! How many events a master's bus carries to fifty listeners. Events are fired and read with as
//! little work as possible, at most a few hundred ahead of the slowest listener, so none is lost.

use super::daemon;
use super::goal::Goal;
use super::listeners::Bus;
use super::trial::Watch;
use super::{Bench, Plan, Trial};
use crate::Peer;

pub const BENCH: Bench = Bench {
    name: "events",
    about: "events of 300 B to 50 listeners of the master's bus",
    sizes: &[50],
    quick: &[50],
    per: (1000.0, "events"),
    trials: (5, 3),
    measure,
    goals: |_, _| vec![Goal::All, Goal::SecondsOfSalt(1.0)],
};

const EVENTS: usize = 50_000;
/// Real Salt takes a hundred times as long for one.
const SALT_PART: usize = 10;
const AHEAD: usize = 200;

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    const WHAT: &str = "events to all listeners";
    let (_fleet, mut master) = daemon::running(peer);
    let mut bus = Bus::new(&master, size, 300);
    if !bus.warm() {
        return vec![(WHAT, Trial::failed("the listeners hear nothing"))];
    }
    let events = if peer.is_saltern() { EVENTS } else { EVENTS / SALT_PART };
    let watch = Watch::master(&mut master);
    let heard = bus.run(events, AHEAD, plan.limit());
    let trial = watch.end(heard as f64, events as f64);
    let rate = trial.seconds.map(|seconds| events as f64 / seconds);
    vec![(WHAT, rate.into_iter().fold(trial, |t, rate| t.with("events a second", rate)))]
}
