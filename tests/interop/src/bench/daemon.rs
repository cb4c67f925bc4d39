//! A master as its users run it: real Salt's defaults instead of the short cuts of the tests.

use std::fs;
use std::path::PathBuf;

use crate::{Fleet, Master, Peer};

/// Takes back what the bench of the tests sets: a log full of details, few workers, a maintenance
/// every second.
const DEFAULTS: &str = "log_level: warning\nlog_level_logfile: warning\nworker_threads: 5\n\
                        loop_interval: 60\n";

/// A master that is not started yet.
pub fn prepare(fleet: &Fleet, name: &str, extra: &str) -> Master {
    let master = fleet.master(name, extra);
    fs::write(master.conf().join("master.d/bench.conf"), DEFAULTS).unwrap();
    master
}

/// Starts it; returns when both ports answer.
pub fn start(master: &mut Master) {
    master.start_logging(&[4505, 4506], "warning");
}

/// One that runs and accepts every key, in a fleet of its own.
pub fn running(peer: Peer) -> (Fleet, Master) {
    let fleet = Fleet::new(peer, Peer::Saltern);
    let mut master = prepare(&fleet, "m", "auto_accept: True");
    start(&mut master);
    (fleet, master)
}

/// Where things are kept that are made once, between runs.
pub fn kept(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    let dir = target.join("bench").join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}
