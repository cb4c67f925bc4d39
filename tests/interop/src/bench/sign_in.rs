//! The storm after a power cut: all minions sign in at once, first with keys that the master has
//! never seen (and accepts), then with keys it knows.

use std::time::Instant;

use super::daemon;
use super::goal::Goal;
use super::herd::{self, Herd};
use super::trial::Watch;
use super::{Bench, Plan, Trial, floors};
use crate::{Master, Peer};

pub const BENCH: Bench = Bench {
    name: "sign-in",
    about: "a storm of minions that sign in at once, with new and with known keys",
    sizes: &[1000, 10_000],
    quick: &[1000, 10_000],
    per: (1000.0, "sign-ins"),
    trials: (3, 1),
    measure,
    goals,
};

const NEW: &str = "sign-in, new minions";
const KNOWN: &str = "sign-in, known minions";

fn goals(what: &str, _: usize) -> Vec<Goal> {
    let floor = 2.0 * floors::rsa_private_seconds();
    let bare = Goal::CpuOfFloor { times: 1.5, floor, name: "two bare RSA private operations" };
    match what {
        NEW => vec![Goal::All, bare, Goal::CpuOfSalt(0.25)],
        _ => vec![Goal::All, Goal::CpuOfSalt(0.25)],
    }
}

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    herd::keys();
    let (fleet, master) = daemon::running(peer);
    let both = storms(master, size, plan);
    daemon::clear_later(fleet);
    both
}

fn storms(mut master: Master, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    let (herd, new) = storm(&mut master, size, plan);
    herd.stop();
    if !new.complete() {
        return vec![(NEW, new)];
    }
    daemon::settle(&mut master);
    let (_herd, known) = storm(&mut master, size, plan);
    vec![(NEW, new), (KNOWN, known)]
}

/// Nothing but signing in: no pillar, no start event, no heartbeats.
const ALONE: &[&str] = &["--bare", "--heartbeat", "0"];

fn storm(master: &mut Master, size: usize, plan: &Plan) -> (Herd, Trial) {
    let watch = Watch::master(master);
    let begun = Instant::now();
    let herd = Herd::of(master, size, ALONE);
    let connected = herd.connected(begun, plan.limit());
    let trial = watch.end(connected as f64, size as f64);
    let p99 = herd.most("latency_ms.sign_in.p99");
    (herd, p99.into_iter().fold(trial, |trial, p99| trial.with("p99 ms", p99)))
}

/// A master under so many connected minions, or what became of the attempt.
pub(super) fn connected(master: &Master, size: usize, plan: &Plan) -> Result<Herd, Box<Trial>> {
    herd::keys();
    let begun = Instant::now();
    let herd = Herd::of(master, size, &pace(master));
    joined(&herd, begun, plan).map(|()| herd)
}

/// Sign-ins a second where they are not what is measured: as many as each can bear without a
/// queue.
pub(super) fn pace(master: &Master) -> Vec<&'static str> {
    let rate = if master.peer.is_saltern() { "800" } else { "120" };
    ["--rate", rate].into_iter().chain(beat(master).iter().copied()).collect()
}

/// Real Salt's master is spared the heartbeats of our minions, which its own do not have; ours has
/// to bear them. Only where a master dies they are the same for all.
fn beat(master: &Master) -> &'static [&'static str] {
    if master.peer.is_saltern() { &[] } else { &["--heartbeat", "0"] }
}

/// Waits until all are connected.
pub(super) fn joined(herd: &Herd, since: Instant, plan: &Plan) -> Result<(), Box<Trial>> {
    let connected = herd.connected(since, plan.limit());
    if connected == herd.count {
        return Ok(());
    }
    let took = since.elapsed().as_secs_f64();
    let note = format!("sign-in ended after {took:.0} s: {connected} of {} signed in", herd.count);
    Err(Box::new(Trial::failed(note)))
}
