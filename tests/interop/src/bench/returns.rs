//! A flood of returns: every minion sends one after the other, each as soon as the master has
//! taken the one before, as minions do that come back after hours.

use std::time::{Duration, Instant};

use super::daemon;
use super::goal::Goal;
use super::herd::Herd;
use super::sign_in::{connected, joined, pace};
use super::trial::Watch;
use super::{Bench, Plan, Trial};
use crate::Peer;

pub const BENCH: Bench = Bench {
    name: "returns",
    about: "a flood of returns of 500 B and of 50 kB",
    sizes: &[100, 1000],
    quick: &[1000],
    per: (1000.0, "returns"),
    trials: (3, 1),
    measure,
    goals: |what, _| match what {
        SMALL => vec![Goal::All, Goal::CpuOfSalt(1.0 / 30.0)],
        _ => vec![Goal::All],
    },
};

const SMALL: &str = "returns of 500 B";
const LARGE: &str = "returns of 50 kB";
/// Returns of a trial, together.
const SMALL_TOTAL: usize = 20_000;
const LARGE_TOTAL: usize = 4_000;
/// Real Salt takes a hundred times as long for one.
const SALT_PART: usize = 4;

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    let part = if peer.is_saltern() { 1 } else { SALT_PART };
    vec![
        (SMALL, flood(peer, size, "500", SMALL_TOTAL / part, plan)),
        (LARGE, flood(peer, size, "50000", LARGE_TOTAL / part, plan)),
    ]
}

fn flood(peer: Peer, size: usize, bytes: &str, total: usize, plan: &Plan) -> Trial {
    let (_fleet, mut master) = daemon::running(peer);
    let each = total.div_ceil(size);
    let wanted = (each * size) as f64;
    // They are known before, so that the flood is of returns and not of new keys.
    match connected(&master, size, plan) {
        Ok(herd) => herd.stop(),
        Err(trial) => return *trial,
    }
    let each = each.to_string();
    let options = ["--flood", &each, "--size", bytes, "--progress", "0.2"];
    let options: Vec<&str> = options.into_iter().chain(pace(&master)).collect();
    let begun = Instant::now();
    let herd = Herd::of(&master, size, &options);
    if let Err(trial) = joined(&herd, begun, plan) {
        return *trial;
    }
    let watch = Watch::master(&mut master);
    let end = Instant::now() + Duration::from_secs_f64(plan.limit());
    while herd.sum("answered") < wanted && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let trial = watch.end(herd.sum("answered"), wanted);
    let p99 = herd.most("latency_ms.answer.p99");
    p99.into_iter().fold(trial, |trial, p99| trial.with("p99 ms", p99))
}
