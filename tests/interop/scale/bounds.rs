//! What is scarce is kept within bounds, and what was refused for it is told.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use saltern_interop::{Fleet, Master, Peer, SwarmPlan, wait};

use super::{is_answered, pings, publish};

const MASTER: &str = "auto_accept: True";

fn started(fleet: &Fleet, extra: &str) -> Master {
    let mut master = fleet.master("m1", &format!("{MASTER}\n{extra}"));
    master.start();
    master
}

/// Resident kilobytes of the master.
fn memory(master: &mut Master) -> u64 {
    let pid = master.process().pid();
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until the master has no more than 32 MB more than before.
fn memory_returns(master: &mut Master, before: u64) {
    wait::until(&format!("memory to come back to {before} kB and 32 MB"), || {
        (memory(master) < before + 32 * 1024).then_some(())
    });
}

fn health(master: &Master) -> serde_json::Value {
    master.run("salt-run", &["manage.health", "--out", "json"]).json()
}

#[test]
fn a_master_short_of_descriptors_keeps_serving() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", MASTER);
    master.start_with_files(220);
    // Two connections each would be far more than there are files.
    let mut swarm = SwarmPlan::of(&fleet, 150, &[&master]).start();
    swarm.wait_connected();
    for _ in 0..2 {
        assert_eq!(pings(&master), 150);
    }
    let end = swarm.stop();
    assert_eq!(end["unanswered"], 0, "{end}");
    assert!(master.process().is_running());
}

#[test]
fn five_hundred_returns_of_50_kb_are_stored_and_memory_comes_back() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = started(&fleet, "");
    let plan = SwarmPlan::of(&fleet, 250, &[&master]).option("--size", "50000");
    let mut swarm = plan.start();
    swarm.wait_connected();
    let before = memory(&mut master);
    let mut jids = Vec::new();
    for round in 1..=2 {
        jids.push(publish(&master, &["*", "scale.text"]));
        swarm.until("no answer to be open", |line| is_answered(line, 250 * round));
    }
    // 25 MB went through it; the job cache's pages and what connections keep may stay.
    memory_returns(&mut master, before);
    for jid in jids {
        let found = wait::until("all returns to be stored", || {
            let found = master.lookup(&jid);
            (found.len() == 250).then_some(found)
        });
        let whole = |value: &serde_json::Value| value.as_str().map(str::len) == Some(50_000);
        assert!(found.iter().all(|(_, value)| whole(value)), "a return was changed");
    }
    // The lookups had them all in memory once more.
    memory_returns(&mut master, before);
    swarm.stop();
}

#[test]
fn a_subscriber_that_never_reads_does_not_delay_the_others_and_is_counted() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    // Below root_dir, like all paths.
    let master = started(&fleet, "pub_hwm: 50\nhealth_file: /health.prom");
    let mut swarm = SwarmPlan::of(&fleet, 100, &[&master]).start();
    swarm.wait_connected();
    let stuck = subscribe(&master);
    let text = "x".repeat(100_000);
    let mut published = 0;
    // As much as its socket takes, and what the master keeps for it: then it loses some.
    wait::until("what the stuck subscriber lost to be counted", || {
        for _ in 0..20 {
            publish(&master, &["swarm-0", "test.echo", &text]);
        }
        published += 20;
        let lines = &health(&master)["lines"];
        let count = |name: &str| lines[name]["value"].as_u64().unwrap();
        (count("publications_lost") + count("subscribers_stuck") > 0).then_some(())
    });
    let file = master.root().join("health.prom");
    wait::until("the file for monitoring to tell it as well", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let told = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        let lost = told("saltern_master_publications_lost_total")
            + told("saltern_master_subscribers_stuck_total");
        (lost > 0 && told("saltern_master_subscribers") >= 100).then_some(())
    });
    assert_eq!(pings(&master), 100, "after {published} publications");
    swarm.until("all answers", |line| is_answered(line, published + 100));
    drop(stuck);
    swarm.stop();
}

/// A ZMTP 3 subscriber to everything that then reads no more.
fn subscribe(master: &Master) -> TcpStream {
    let mut socket = TcpStream::connect(master.address.port(4505)).unwrap();
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    socket.write_all(&greeting).unwrap();
    let mut ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB".to_vec();
    let length = u8::try_from(ready.len()).unwrap();
    ready.splice(0..0, [4, length]);
    socket.write_all(&ready).unwrap();
    // A message of one byte, 1: subscribe to the empty prefix.
    socket.write_all(&[0, 1, 1]).unwrap();
    let mut greeting = [0; 64];
    socket.read_exact(&mut greeting).unwrap();
    socket
}

#[test]
fn jobs_expire_while_returns_come_in() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = started(&fleet, "keep_jobs_seconds: 3");
    let mut swarm = SwarmPlan::of(&fleet, 200, &[&master]).start();
    swarm.wait_connected();
    let first = publish(&master, &["*", "test.ping"]);
    let mut jobs = 1;
    wait::until("the first job to be removed", || {
        publish(&master, &["*", "test.ping"]);
        jobs += 1;
        master.lookup(&first).is_empty().then_some(())
    });
    let last = swarm.until("all jobs to be answered", |line| is_answered(line, 200 * jobs));
    assert_eq!(last["failed"].as_u64().unwrap_or(0), 0, "{last}");
    swarm.stop();
}
