//! What a minion costs that is connected and has nothing to do.

use std::time::Duration;

use super::daemon;
use super::goal::Goal;
use super::sign_in::connected;
use super::trial::Watch;
use super::{Bench, Plan, Trial, proc};
use crate::Peer;

pub const BENCH: Bench = Bench {
    name: "idle",
    about: "memory and CPU of a master whose minions are connected and do nothing",
    sizes: &[0, 100, 1000, 10_000],
    quick: &[0, 1000, 10_000],
    per: (1.0, "hours"),
    trials: (1, 1),
    measure,
    goals: |_, size| match size {
        0 => vec![Goal::Memory(20.0)],
        10_000 => vec![Goal::Memory(250.0)],
        _ => vec![],
    },
};

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    const WHAT: &str = "master, idle";
    // What the start leaves behind is done with after a while.
    let (settle, seconds) = if plan.quick { (5.0, 15.0) } else { (10.0, 60.0) };
    let settle = || std::thread::sleep(Duration::from_secs_f64(settle));
    let (_fleet, mut master) = daemon::running(peer);
    settle();
    let alone = proc::memory(master.process().pid());
    let _herd = match connected(&master, size, plan) {
        Ok(herd) => herd,
        Err(trial) => return vec![(WHAT, *trial)],
    };
    if size > 0 {
        settle();
    }
    let watch = Watch::master(&mut master);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let hours = seconds / 3600.0;
    let mut trial = watch.end(hours, hours);
    trial.seconds = None;
    if size > 0 {
        let memory = trial.memory.unwrap_or_default();
        let cpu = trial.cpu.unwrap_or_default();
        trial = trial
            .with("KiB per minion", (memory.counted() - alone.counted()) * 1024.0 / size as f64)
            .with("CPU s per minion and hour", cpu / hours / size as f64);
    }
    vec![(WHAT, trial)]
}
