//! Hundreds of simulated minions against our master, over real sockets: all are answered, nothing
//! is lost when masters restart or die, and what is scarce (descriptors, memory, disk) is kept
//! within bounds. A few seconds each; thousands of minions and hours are `cargo xtask soak`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../scale/bounds.rs"]
mod bounds;
#[path = "../scale/masters.rs"]
mod masters;
#[path = "../scale/swarm.rs"]
mod swarm;
#[path = "../scale/targets.rs"]
mod targets;

use saltern_interop::Master;

/// How many minions answer `test.ping` with true.
fn pings(master: &Master) -> usize {
    let answers = master.salt(&["*", "test.ping"]);
    answers.as_object().unwrap().values().filter(|value| **value == true).count()
}

/// Publishes a job without waiting for answers and returns its id.
fn publish(master: &Master, args: &[&str]) -> String {
    let mut all = vec!["--async"];
    all.extend(args);
    let output = master.run("salt", &all);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.split_whitespace().last().unwrap().to_owned()
}

/// Whether a line of a swarm says that so many returns were acknowledged and none is open.
fn is_answered(line: &serde_json::Value, count: usize) -> bool {
    line["answered"].as_u64() >= Some(count as u64) && line["unanswered"].as_u64() == Some(0)
}
