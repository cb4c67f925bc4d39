//! A master as its users run it: real Salt's defaults instead of the short cuts of the tests.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::proc;
use crate::{Fleet, Master, Peer};

/// A master that uses less CPU time than this in a look's time has started.
const STARTED: f64 = 0.03;
const LOOK: Duration = Duration::from_millis(500);
const START: Duration = Duration::from_secs(30);

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
    running_for(peer, Peer::Saltern)
}

/// As [`running`], with minions of that kind.
pub fn running_for(peer: Peer, minions: Peer) -> (Fleet, Master) {
    let fleet = Fleet::new(peer, minions);
    let mut master = prepare(&fleet, "m", "auto_accept: True");
    start(&mut master);
    settle(&mut master);
    (fleet, master)
}

/// Fleets that are over and whose files are still there.
static OVER: Mutex<Vec<Fleet>> = Mutex::new(Vec::new());

/// Lets the files of a fleet be until [`clear`]. For minutes after many were deleted, ext4 looks at
/// each of their inodes whenever it makes a file nearby, and whoever makes it pays: a master that
/// keeps new keys took up to twice the CPU time because of the trial before.
pub fn clear_later(fleet: Fleet) {
    OVER.lock().unwrap_or_else(PoisonError::into_inner).push(fleet);
}

/// Deletes what was to be deleted later.
pub fn clear() {
    OVER.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Waits until what went before costs nothing any more: real Salt's ports answer long before its
/// workers are there, and neither their start nor the end of other minions is what is measured.
pub fn settle(master: &mut Master) {
    let pid = master.process().pid();
    let end = Instant::now() + START;
    let mut before = proc::cpu_seconds(pid);
    while Instant::now() < end {
        thread::sleep(LOOK);
        let now = proc::cpu_seconds(pid);
        if now - before < STARTED {
            return;
        }
        before = now;
    }
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
