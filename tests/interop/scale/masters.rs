//! A master restarts or dies under its minions.

use std::collections::BTreeSet;

use saltern_interop::{Fleet, Master, Peer, SwarmPlan, wait};

use super::{is_answered, pings, publish};

/// Minions are accepted at sight; jobs of the tests are published without waiting.
const MASTER: &str = "auto_accept: True\ntimeout: 5\ngather_job_timeout: 5";

/// Whose answers to a job are stored at one of these masters.
fn stored(masters: &[&Master], jid: &str) -> BTreeSet<String> {
    masters.iter().flat_map(|master| master.lookup(jid)).map(|(id, _)| id).collect()
}

/// Waits until all answers to a job are stored.
fn wait_stored(masters: &[&Master], jid: &str, plan: &SwarmPlan) {
    let all: BTreeSet<String> = plan.ids().collect();
    wait::until("all answers to be stored", || {
        let missing = all.difference(&stored(masters, jid)).count();
        (missing == 0).then_some(())
    });
}

#[test]
fn five_hundred_minions_answer_and_none_is_lost() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", MASTER);
    master.start();
    let plan = SwarmPlan::of(&fleet, 500, &[&master]);
    let mut swarm = plan.start();
    swarm.wait_connected();
    assert_eq!(pings(&master), 500);
    swarm.until("all to be acknowledged", |line| is_answered(line, 500));
    let end = swarm.stop();
    assert_eq!(end["lost"], 0, "{end}");
    assert_eq!(end["unanswered"], 0, "{end}");
}

#[test]
fn a_master_restarts_under_three_hundred_minions() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", MASTER);
    master.start();
    let plan = SwarmPlan::of(&fleet, 300, &[&master]);
    let mut swarm = plan.start();
    swarm.wait_connected();
    let mut jids = Vec::new();
    for killed in [false, true] {
        // Answers of this job are on their way while the master ends.
        jids.push(publish(&master, &["*", "test.ping"]));
        match killed {
            true => master.process().kill(),
            false => drop(master.process().stop()),
        }
        swarm.until("the loss to be noticed", |line| line["connected"].as_u64() == Some(0));
        master.start();
        swarm.wait_connected();
        jids.push(publish(&master, &["*", "test.ping"]));
        wait_stored(&[&master], jids.last().unwrap(), &plan);
    }
    let line = swarm.until("no answer to be open", |line| is_answered(line, 600));
    // Whatever was acknowledged is stored, however the master ended.
    let stored: usize = jids.iter().map(|jid| stored(&[&master], jid).len()).sum();
    let acknowledged = line["answered"].as_u64().unwrap() as usize;
    assert!(stored >= acknowledged, "{stored} stored: {line}");
    swarm.stop();
}

#[test]
fn a_dead_masters_minions_are_all_on_the_other_one() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut masters = fleet.signed_masters_here(2, MASTER);
    let second = masters.pop().unwrap();
    let mut first = masters.pop().unwrap();
    let plan = SwarmPlan::of(&fleet, 300, &[&first, &second])
        .verify(&first)
        .option("--latency", "uniform:0ms..1s");
    let mut swarm = plan.start();
    swarm.wait_connected();
    let jid = publish(&first, &["*", "test.ping"]);
    // Answers come within a second: the master dies among them.
    swarm.until("the first answers", |line| line["answered"].as_u64() > Some(0));
    first.process().kill();
    let there = second.address.to_string();
    swarm.until("all to be at the second master", |line| {
        line["masters"][&there].as_u64() == Some(300)
    });
    let line = swarm.until("all answers to be acknowledged", |line| {
        is_answered(line, 1) && line["answered"] == line["jobs"]
    });
    first.start();
    // A busy machine may have let some begin at the second master: they were not asked.
    let taken = line["jobs"].as_u64().unwrap() as usize;
    wait::until("the answers of all who were asked", || {
        (stored(&[&first, &second], &jid).len() >= taken).then_some(())
    });
    let jid = publish(&second, &["*", "test.ping"]);
    wait_stored(&[&second], &jid, &plan);
    let end = swarm.stop();
    assert_eq!(end["unanswered"], 0, "{end}");
}
