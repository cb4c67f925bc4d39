//! `salt-call --local test.ping`: what one call takes.

use super::goal::Goal;
use super::start::timed;
use super::{Bench, Plan, Trial};
use crate::{Fleet, Peer};

pub const BENCH: Bench = Bench {
    name: "call",
    about: "salt-call --local test.ping",
    sizes: &[1],
    quick: &[1],
    per: (1.0, "calls"),
    trials: (9, 3),
    measure,
    goals: |_, _| vec![Goal::All, Goal::CpuOfSalt(1.0 / 40.0)],
};

fn measure(peer: Peer, _: usize, _: &Plan) -> Vec<(&'static str, Trial)> {
    let fleet = Fleet::new(peer, peer);
    let master = fleet.master("m1", "");
    let minion = fleet.minion("min", &[&master], "");
    let mut command = peer.program("salt-call");
    command.arg("-c").arg(minion.conf()).args(["--local", "test.ping"]);
    vec![("salt-call --local test.ping", timed(&mut command))]
}
