//! The fleet: every master and minion on a host of its own.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::{Fleet, Master, Minion, Net, Peer, wait};

/// Failover as the recipe sets it, nothing else.
const RECIPE: &str = "master_type: failover\nverify_master_pubkey_sign: True\n\
                      retry_dns: 0\nmaster_tries: -1";

pub(super) struct World {
    pub(super) masters: Vec<Node<Master>>,
    pub(super) minions: Vec<Node<Minion>>,
    pub(super) fleet: Fleet,
    _net: Net,
}

/// A program, and what is wrong with it now.
pub(super) struct Node<T> {
    pub(super) program: T,
    /// Whether a fault is in force.
    pub(super) faulty: bool,
    /// Whether it is neither dead nor frozen.
    pub(super) runs: bool,
    /// When faults began and ended, in seconds since 1970.
    pub(super) faults: Vec<(f64, f64)>,
    /// How often it was started.
    pub(super) starts: usize,
}

impl<T> Node<T> {
    fn new(program: T) -> Self {
        Node { program, faulty: false, runs: true, faults: Vec::new(), starts: 1 }
    }
}

impl World {
    pub(super) fn begin(minions: usize) -> Option<Self> {
        let net = Net::new("chaos")?;
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let hosts: Vec<_> = (0..3).map(|_| net.host()).collect();
        // Jobs of many minions at a time: the tool must not wait long for one that is at fault.
        let masters = fleet.signed_masters_on(&hosts, "timeout: 2\ngather_job_timeout: 2");
        let addresses: Vec<_> = masters.iter().map(|m| m.address.to_string()).collect();
        let minions = (0..minions).map(|number| {
            let mut list = addresses.clone();
            list.rotate_left(number % addresses.len());
            let list = format!("[{}]", list.join(", "));
            let mut minion = fleet.minion_on(&net.host(), &format!("min{number}"), &list, RECIPE);
            fleet.introduce(&minion, &masters);
            minion.start();
            Node::new(minion)
        });
        let minions: Vec<_> = minions.collect();
        let masters = masters.into_iter().map(Node::new).collect();
        let world = World { masters, minions, fleet, _net: net };
        world.wait_all();
        Some(world)
    }

    /// Waits until every minion answers some master.
    pub(super) fn wait_all(&self) {
        wait::until("every minion to answer some master", || {
            let mut seen = HashSet::new();
            for master in &self.masters {
                let args = ["*", "test.ping", "-t", "5", "--out", "txt"];
                let output = master.program.run("salt", &args).stdout;
                let up = output.lines().filter_map(|l| l.strip_suffix(": True"));
                seen.extend(up.map(str::to_owned));
            }
            (seen.len() == self.minions.len()).then_some(())
        });
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}
