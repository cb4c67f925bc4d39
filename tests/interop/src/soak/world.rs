//! The masters, the swarms and the few real minions of a soak.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::Plan;
use crate::{Fleet, Master, Minion, Peer, Swarm, SwarmPlan, wait};

/// What the masters are set to. Jobs are kept for a quarter of an hour, so that a run of hours
/// also shows that they are removed.
const MASTER: &str = "auto_accept: True\ntimeout: 5\ngather_job_timeout: 5\n\
                      keep_jobs_seconds: 900\nlog_level_logfile: warning\n";

/// Failover as the recipe sets it.
const RECIPE: &str = "master_type: failover\nverify_master_pubkey_sign: True\n\
                      retry_dns: 0\nmaster_tries: -1";

/// Which part of the fleet a swarm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Answers of some hundred bytes.
    Small,
    /// Answers of 50 kB.
    Medium,
    /// Answers of 1 MB.
    Big,
    /// Leaves and comes back all the time.
    Flapping,
}

impl Role {
    /// What its minions have as the grain `size`.
    fn grain(self) -> &'static str {
        match self {
            Role::Small => "small",
            Role::Medium => "medium",
            Role::Big => "big",
            Role::Flapping => "none",
        }
    }

    /// Bytes of an answer.
    fn bytes(self) -> usize {
        match self {
            Role::Small | Role::Flapping => 300,
            Role::Medium => 50_000,
            Role::Big => 1_000_000,
        }
    }
}

/// One process with a part of the fleet.
pub(super) struct Group {
    pub(super) plan: SwarmPlan,
    pub(super) role: Role,
    pub(super) swarm: Option<Swarm>,
    /// Where it writes down which jobs it took and which returns were acknowledged.
    pub(super) journal: PathBuf,
    /// How often it was started.
    pub(super) starts: usize,
}

impl Group {
    pub(super) fn start(&mut self) {
        self.swarm = Some(self.plan.start());
        self.starts += 1;
    }

    /// How many of its minions are connected.
    fn connected(&mut self) -> usize {
        let count = self.swarm.as_mut().and_then(|swarm| swarm.now()["connected"].as_u64());
        count.map_or(0, |count| count as usize)
    }

    fn is_whole(&mut self) -> bool {
        self.connected() == self.plan.count
    }

    /// How often its minions signed in or changed masters: while this stays the same, nobody was
    /// away.
    fn moves(&mut self) -> u64 {
        let Some(swarm) = &mut self.swarm else { return 0 };
        let now = swarm.now();
        ["sign_ins", "switches"].iter().filter_map(|name| now[*name].as_u64()).sum()
    }
}

pub(super) struct World {
    pub(super) masters: Vec<Master>,
    /// Which of them run.
    pub(super) up: Vec<bool>,
    pub(super) groups: Vec<Group>,
    /// Ours, and perhaps one of real Salt.
    pub(super) minions: Vec<Minion>,
    pub(super) fleet: Fleet,
}

impl World {
    /// Masters run; nobody is connected yet.
    pub(super) fn begin(plan: &Plan) -> Self {
        let mut fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        fleet.keep |= plan.keep;
        let masters = fleet.signed_masters_here(plan.masters, MASTER);
        let groups = shares(plan.minions).into_iter().map(|(name, role, count)| {
            let journal = fleet.root().join(format!("{name}.journal"));
            let plan = swarm(&fleet, &masters, name, role, count);
            let plan = plan.option("--journal", journal.to_str().unwrap());
            Group { plan, role, swarm: None, journal, starts: 0 }
        });
        let groups = groups.collect();
        let minions = real(&fleet, &masters, plan);
        let up = vec![true; masters.len()];
        World { masters, up, groups, minions, fleet }
    }

    /// Starts who does not run and waits until everybody is connected.
    pub(super) fn connect_all(&mut self) {
        for minion in self.minions.iter_mut().filter(|minion| !minion.is_started()) {
            minion.start();
        }
        for group in self.groups.iter_mut().filter(|group| group.swarm.is_none()) {
            group.start();
        }
        for group in self.groups.iter_mut().filter(|group| group.role != Role::Flapping) {
            group.swarm.as_mut().unwrap().wait_connected();
        }
        let ids: Vec<_> = self.minions.iter().map(|minion| minion.id.clone()).collect();
        wait::until("the real minions to answer some master", || {
            let mut seen = BTreeSet::new();
            for master in &self.masters {
                let args = ["-t", "5", "--out", "txt", "-L", &ids.join(","), "test.ping"];
                let text = master.run("salt", &args).stdout;
                let up = text.lines().filter_map(|line| line.strip_suffix(": True"));
                seen.extend(up.map(str::to_owned));
            }
            (seen.len() == ids.len()).then_some(())
        });
    }

    /// Masters that run.
    pub(super) fn masters_up(&self) -> impl Iterator<Item = &Master> {
        self.masters.iter().zip(&self.up).filter(|(_, up)| **up).map(|(master, _)| master)
    }

    /// Minions of swarms that are connected.
    pub(super) fn connected(&mut self) -> usize {
        self.groups.iter_mut().map(Group::connected).sum()
    }

    /// Minions of swarms that are connected to the master with that address.
    pub(super) fn at(&mut self, address: &str) -> usize {
        let running = self.groups.iter_mut().filter_map(|group| group.swarm.as_mut());
        let count = |swarm: &mut Swarm| {
            let masters = swarm.now()["masters"].as_object().cloned().unwrap_or_default();
            let own = masters.iter().filter(|(host, _)| host.split(':').next() == Some(address));
            own.filter_map(|(_, count)| count.as_u64()).sum::<u64>() as usize
        };
        running.map(count).sum()
    }

    /// If nobody is away who does not flap: how often anybody came so far.
    pub(super) fn calm(&mut self) -> Option<u64> {
        let steady = self.groups.iter_mut().filter(|group| group.role != Role::Flapping);
        let (mut whole, mut moves) = (self.up.iter().all(|up| *up), 0);
        for group in steady {
            whole &= group.is_whole();
            moves += group.moves();
        }
        whole.then_some(moves)
    }

    /// Ids of all steady groups of that role; of all roles without one.
    pub(super) fn ids(&self, role: Option<Role>) -> BTreeSet<String> {
        let wanted = |group: &&Group| match role {
            Some(role) => group.role == role,
            None => group.role != Role::Flapping,
        };
        self.groups.iter().filter(wanted).flat_map(|group| group.plan.ids()).collect()
    }

    /// Ends all minions; how each swarm ended, by its name.
    pub(super) fn end_minions(&mut self) -> Vec<(String, Value)> {
        for minion in &mut self.minions {
            minion.process().stop();
        }
        let groups = self.groups.iter_mut();
        groups
            .filter_map(|group| Some((group.plan.name.clone(), group.swarm.take()?.stop())))
            .collect()
    }
}

/// The parts of a fleet: most give small answers, in two processes; a few give large ones.
fn shares(minions: usize) -> Vec<(&'static str, Role, usize)> {
    let big = (minions / 400).max(2);
    let flapping = minions / 12;
    let medium = minions / 4;
    let small = minions - big - flapping - medium;
    vec![
        ("small", Role::Small, small / 2),
        ("other", Role::Small, small - small / 2),
        ("medium", Role::Medium, medium),
        ("big", Role::Big, big),
        ("flap", Role::Flapping, flapping),
    ]
}

fn swarm(fleet: &Fleet, masters: &[Master], name: &str, role: Role, count: usize) -> SwarmPlan {
    let grains = fleet.root().join(format!("{name}.grains"));
    let text = format!("size: {}\nos: Swarm\nnumber: '{{n}}'\n", role.grain());
    fs::write(&grains, text).unwrap();
    let masters: Vec<&Master> = masters.iter().collect();
    let plan = SwarmPlan::new(fleet.root(), name, count, &masters)
        .verify(masters[0])
        .flag("--random-master")
        .option("--grains", grains.to_str().unwrap())
        .option("--size", &role.bytes().to_string())
        // As fast as a small machine takes them that has minions and masters on it.
        .option("--ramp", &(count / 50).max(2).to_string());
    match role {
        Role::Flapping => plan.option("--flapping", "100").option("--flap-every", "15"),
        Role::Small => plan.option("--latency", "exp:20ms"),
        Role::Medium | Role::Big => plan,
    }
}

/// Two minions of ours and perhaps one of real Salt, not started yet.
fn real(fleet: &Fleet, masters: &[Master], plan: &Plan) -> Vec<Minion> {
    let mut peers = vec![("real-0", Peer::Saltern), ("real-1", Peer::Saltern)];
    if plan.stock {
        peers.push(("real-stock", Peer::Salt3006));
    }
    let list: Vec<&Master> = masters.iter().collect();
    let prepare = |(id, peer): (&str, Peer)| {
        let minion = Minion::prepare(peer, id, &fleet.root().join(id), &list, RECIPE);
        fleet.introduce(&minion, masters);
        minion
    };
    peers.into_iter().map(prepare).collect()
}
