//! `salt-call --local test.ping`: CPU seconds of one call.

use std::process::Stdio;

use super::{Figure, Target};
use crate::{Fleet, Peer};

const TRIALS: usize = 9;

pub fn run() -> Vec<Figure> {
    let (mut saltern, mut salt) = (Vec::new(), Vec::new());
    for _ in 0..TRIALS {
        saltern.push(once(Peer::Saltern));
        salt.push(once(Peer::Salt3006));
    }
    vec![Figure {
        what: "salt-call --local test.ping: CPU",
        unit: "s",
        saltern,
        salt,
        target: Target::Ratio(1.0 / 40.0),
    }]
}

fn once(peer: Peer) -> f64 {
    let fleet = Fleet::new(peer, peer);
    let master = fleet.master("m1", "");
    let minion = fleet.minion("min", &[&master], "");
    let mut command = peer.program("salt-call");
    command.arg("-c").arg(minion.conf()).args(["--local", "test.ping"]);
    let before = children_cpu();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    children_cpu() - before
}

/// CPU seconds of our ended children, to the microsecond.
fn children_cpu() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    let usage = usage.unwrap();
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
