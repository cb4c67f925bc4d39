//! A master with a hundred minions: memory, and CPU per return. The minions are Saltern's in both
//! cases, so that only the masters differ.

use std::process::Command;

use super::{Figure, Target, proc};
use crate::{Fleet, Master, Minion, Output, Peer, wait};

const MINIONS: usize = 100;
const JOBS: usize = 20;

pub fn run() -> Vec<Figure> {
    let (ours, theirs) = (measure(Peer::Saltern), measure(Peer::Salt3006));
    vec![
        Figure {
            what: "master with 100 minions: memory",
            unit: "MiB",
            saltern: vec![ours.0],
            salt: vec![theirs.0],
            target: Target::Ratio(0.1),
        },
        Figure {
            what: "master with 100 minions: CPU per 1,000 returns",
            unit: "s",
            saltern: ours.1,
            salt: theirs.1,
            target: Target::Ratio(0.1),
        },
    ]
}

fn measure(peer: Peer) -> (f64, Vec<f64>) {
    let fleet = Fleet::new(peer, Peer::Saltern);
    let mut master = fleet.master("m1", "auto_accept: True");
    master.start();
    let mut minions: Vec<Minion> =
        (0..MINIONS).map(|n| fleet.minion(&format!("min{n}"), &[&master], "")).collect();
    minions.iter_mut().for_each(Minion::start);
    wait::until("100 minions to answer", || (ping(&master) == MINIONS).then_some(()));
    let pid = master.process().pid();
    let memory = proc::memory_mib(pid);
    let trials = (0..3)
        .map(|_| {
            let before = proc::cpu_seconds(pid);
            let returns = storm(&master);
            (proc::cpu_seconds(pid) - before) * 1000.0 / returns as f64
        })
        .collect();
    (memory, trials)
}

fn ping(master: &Master) -> usize {
    let output = master.run("salt", &["*", "test.ping", "-t", "10", "--out", "txt"]);
    output.stdout.lines().filter(|l| l.ends_with(": True")).count()
}

/// Publishes to all and waits for all, a few times. Real Salt is driven by one Python process:
/// the start of its tool would not count for the master, but would heat the machine.
fn storm(master: &Master) -> usize {
    match master.peer {
        Peer::Saltern => (0..JOBS).map(|_| ping(master)).sum(),
        _ => {
            let script = "import sys, salt.client\n\
                          c = salt.client.LocalClient(sys.argv[1])\n\
                          print(sum(len(c.cmd('*', 'test.ping', timeout=30)) \
                          for _ in range(int(sys.argv[2]))))";
            let mut command: Command = master.peer.program("python");
            command.args(["-c", script]).arg(master.conf().join("master")).arg(JOBS.to_string());
            let output = Output::of(command);
            output.stdout.trim().parse().unwrap_or_else(|_| panic!("{output:?}"))
        }
    }
}
