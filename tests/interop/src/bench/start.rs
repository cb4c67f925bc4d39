//! The program itself: its size, how long it takes to start at all, and a master until both of
//! its ports are open.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho::RUSAGE_CHILDREN;

use super::daemon;
use super::goal::Goal;
use super::trial::Watch;
use super::{Bench, Plan, Trial, proc};
use crate::{Fleet, Peer};

pub const BENCH: Bench = Bench {
    name: "binary",
    about: "size and start of the program, and of a master until its ports are open",
    sizes: &[1],
    quick: &[1],
    per: (1.0, "starts"),
    trials: (9, 3),
    measure,
    goals: |what, _| match what {
        BARE => vec![Goal::All, Goal::Seconds(0.05), Goal::More(SIZE, 25.0)],
        _ => vec![Goal::All],
    },
};

const BARE: &str = "salt-master --version";
const MASTER: &str = "master, to open ports";
const SIZE: &str = "program MB";

fn measure(peer: Peer, _: usize, _: &Plan) -> Vec<(&'static str, Trial)> {
    vec![(BARE, bare(peer)), (MASTER, master(peer))]
}

fn bare(peer: Peer) -> Trial {
    let mut command = peer.program("salt-master");
    let program = command.get_program().to_owned();
    let trial = timed(command.arg("--version"));
    // Real Salt's is a directory with thousands of files.
    match (peer.is_saltern(), fs::metadata(program)) {
        (true, Ok(data)) => trial.with(SIZE, data.len() as f64 / 1e6),
        _ => trial,
    }
}

fn master(peer: Peer) -> Trial {
    let fleet = Fleet::new(peer, peer);
    let mut master = daemon::prepare(&fleet, "m", "");
    // Its keys are made once in its life.
    daemon::start(&mut master);
    master.process().stop();
    let begun = Instant::now();
    // Asked without a pause: it takes less than what lies between two looks of the harness.
    master.start_logging(&[], "warning");
    while ![4505, 4506].iter().all(|port| master.address.answers(*port)) {
        assert!(master.process().is_running() && begun.elapsed().as_secs() < 60);
        std::thread::sleep(Duration::from_millis(1));
    }
    let seconds = Some(begun.elapsed().as_secs_f64());
    let pid = master.process().pid();
    let cpu = Some(proc::cpu_seconds(pid));
    Trial { seconds, cpu, ..Watch::process(pid).end(1.0, 1.0) }
}

/// Runs a command to its end.
pub(super) fn timed(command: &mut Command) -> Trial {
    let before = proc::own_cpu(RUSAGE_CHILDREN);
    let begun = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let seconds = Some(begun.elapsed().as_secs_f64());
    if !status.success() {
        return Trial::failed(format!("{command:?} ended with {status}"));
    }
    let cpu = Some(proc::own_cpu(RUSAGE_CHILDREN) - before);
    Trial { seconds, cpu, done: 1.0, wanted: 1.0, load: proc::load(), ..Trial::default() }
}
