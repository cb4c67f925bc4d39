//! The fleet simulator itself, as an operator uses it: against our masters and stock ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use saltern_interop::{Fleet, Master, Output, Peer, Program, SwarmPlan, wait};
use serde_json::{Value, json};

use super::publish;

const MASTER: &str = "auto_accept: True\ntimeout: 15\ngather_job_timeout: 15";

fn started(fleet: &Fleet, name: &str) -> Master {
    let mut master = fleet.master(name, MASTER);
    master.start();
    master
}

/// How many minions said what.
fn counted(answers: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for value in answers.as_object().unwrap().values() {
        *counts.entry(value.to_string()).or_default() += 1;
    }
    counts
}

/// Answers to `test.ping` of so many. A minion that has subscribed a moment ago may miss the first
/// publication of a master that has not read that yet.
fn asked(master: &Master, target: &str, count: usize) -> Value {
    wait::until(&format!("{count} answers"), || {
        let answers = master.salt(&[target, "test.ping"]);
        (answers.as_object().unwrap().len() == count).then_some(answers)
    })
}

/// A fleet of which some fail and some say nothing, with grains from two templates.
fn plan(fleet: &Fleet, master: &Master) -> SwarmPlan {
    let (red, blue) = (fleet.root().join("red.yaml"), fleet.root().join("blue.yaml"));
    fs::write(&red, "os: Red\nrack: 'r{n%3}'\n").unwrap();
    fs::write(&blue, "os: Blue\nname: '{id}'\n").unwrap();
    SwarmPlan::of(fleet, 30, &[master])
        .option("--grains", &format!("{},{}", red.display(), blue.display()))
        .option("--failing", "20")
        .option("--latency", "uniform:0ms..50ms")
        .option("--size", "normal:2kB..500")
}

/// What an operator sees of a fleet at a master of any kind.
fn fleet_at(peer: Peer) {
    let fleet = Fleet::new(peer, Peer::Saltern);
    let master = started(&fleet, "m1");
    let mut swarm = plan(&fleet, &master).start();
    swarm.wait_connected();
    assert_eq!(swarm.now()["misbehaving"]["failing"], 6);

    let fails = json!("test.ping fails on this simulated minion").to_string();
    let expected = BTreeMap::from([("true".to_owned(), 24), (fails, 6)]);
    let answers = asked(&master, "*", 30);
    assert_eq!(counted(&answers), expected, "{answers}");
    swarm.until("all answers", |line| line["minions_answered"].as_u64() == Some(30));

    // The templates are dealt out in turn: even numbers are red.
    let answers = master.salt(&["-G", "os:Red", "test.ping"]);
    let found: BTreeSet<_> = answers.as_object().unwrap().keys().cloned().collect();
    assert_eq!(found, (0..15).map(|n| format!("swarm-{}", 2 * n)).collect());
    let answers = master.salt(&["-C", "G@rack:r0 or G@name:swarm-7", "test.ping"]);
    assert_eq!(answers.as_object().unwrap().len(), 6, "{answers}");
    swarm.stop();
}

#[test]
fn our_master_sees_a_fleet_as_it_was_ordered() {
    fleet_at(Peer::Saltern);
}

#[test]
fn a_3006_master_sees_a_fleet_as_it_was_ordered() {
    fleet_at(Peer::Salt3006);
}

#[test]
fn a_3008_master_sees_a_fleet_as_it_was_ordered() {
    fleet_at(Peer::Salt3008);
}

#[test]
fn silent_ones_are_as_many_as_ordered_and_the_same_for_the_same_seed() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = started(&fleet, "m1");
    let mut former = None;
    for _ in 0..2 {
        let plan = SwarmPlan::of(&fleet, 30, &[&master]).option("--silent", "10%");
        let mut swarm = plan.option("--seed", "7").start();
        swarm.wait_connected();
        assert_eq!(swarm.now()["misbehaving"]["silent"], 3);
        let mut jids = Vec::new();
        wait::until("27 to have answered", || {
            jids.push(publish(&master, &["*", "test.ping"]));
            (swarm.now()["minions_answered"] == 27).then_some(())
        });
        let answered = wait::until("their answers to be stored", || {
            let found = jids.iter().flat_map(|jid| master.lookup(jid)).map(|(id, _)| id);
            let found: BTreeSet<_> = found.collect();
            (found.len() >= 27).then_some(found)
        });
        assert_eq!(answered.len(), 27, "a silent one answered");
        assert!(former.is_none_or(|former| former == answered), "others are silent");
        former = Some(answered);
        let end = swarm.stop();
        assert!(end["unanswered"].as_u64() >= Some(3), "{end}");
    }
}

/// The arguments of a job with that function, by the master's own job cache.
fn arguments(master: &Master, fun: &str) -> Option<Value> {
    let output = master.run("salt-run", &["jobs.list_jobs", "--out", "json"]);
    let jobs: Value = serde_json::from_str(&output.stdout).ok()?;
    let found = jobs.as_object()?.values().find(|job| job["Function"] == fun)?;
    Some(found["Arguments"].clone())
}

fn publishes_at(peer: Peer) {
    let fleet = Fleet::new(peer, Peer::Saltern);
    let master = started(&fleet, "m1");
    let conf = master.conf();
    let swarm = SwarmPlan::of(&fleet, 10, &[&master])
        .option("--publish", "test.echo text='two words' count=5 word")
        .option("--target", "swarm-[1-3]")
        .option("--every", "200ms")
        .option("-c", conf.to_str().unwrap());
    let mut swarm = swarm.start();
    let line = swarm.until("its own jobs to be answered", |line| line["minions_answered"] == 3);
    assert!(line["published"]["jobs"].as_u64() >= Some(1), "{line}");
    let end = swarm.stop();
    assert_eq!(end["published"]["errors"], json!({}), "{end}");
    let found = wait::until("the job to be listed", || arguments(&master, "test.echo"));
    let keywords = found.as_array().unwrap().last().unwrap();
    assert_eq!(found[0], "word", "{found}");
    assert_eq!((&keywords["text"], &keywords["count"]), (&json!("two words"), &json!(5)));
}

#[test]
fn its_own_jobs_have_keyword_arguments_at_our_master() {
    publishes_at(Peer::Saltern);
}

#[test]
fn its_own_jobs_have_keyword_arguments_at_a_3006_master() {
    publishes_at(Peer::Salt3006);
}

#[test]
fn its_own_jobs_have_keyword_arguments_at_a_3008_master() {
    publishes_at(Peer::Salt3008);
}

#[test]
fn what_cannot_be_published_is_told_to_people_and_programs() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = started(&fleet, "m1");
    // The configuration of a master that does not run.
    let other = fleet.master("m2", "").conf();
    let plan = SwarmPlan::of(&fleet, 2, &[&master])
        .option("--publish", "test.ping")
        .option("--every", "0.1")
        .option("-c", other.to_str().unwrap());
    let mut swarm = plan.start();
    swarm.until("an error", |line| {
        line["published"]["errors"].as_object().is_some_and(|errors| !errors.is_empty())
    });
    swarm.stop();
    let mut command = swarm_command(&["--masters", &master.address.to_string(), "-n", "2"]);
    command.args(["--key-dir", fleet.root().join("swarm-keys").to_str().unwrap()]);
    command.args(["--publish", "test.ping", "--every", "1000", "-c", other.to_str().unwrap()]);
    let mut swarm = Program::start("saltern swarm", command, &fleet.root().join("shown"));
    wait::until("the failure to be shown", || {
        swarm.printed().contains(", 1 failed\n").then_some(())
    });
    assert_eq!(swarm.stop().0.code(), Some(0));
    assert!(swarm.printed().contains("1 x not published: "), "{}", swarm.printed());
}

fn swarm_command(args: &[&str]) -> Command {
    let mut command = Peer::Saltern.program("swarm");
    command.args(args);
    command
}

#[test]
fn wrong_options_are_told_by_name_before_anything_is_started() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let path = |name: &str, text: &str| {
        let path = fleet.root().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (list, text) = (path("list.yaml", "[1, 2"), path("text", "no key"));
    let mix = path("mix.yaml", "- fun: test.ping\n  target: '*'\n");
    let gone = fleet.root().join("gone/file");
    let gone = gone.to_str().unwrap();
    let cases: [(&str, &[&str]); 29] = [
        ("--count", &["--count", "0"]),
        ("--count", &["--count", "-5"]),
        ("--count", &["--count", "many"]),
        ("--count", &["--count", "900000000"]),
        ("--id", &["--id", "web"]),
        ("--id", &["--id", "web-{number}"]),
        ("--id", &["--id", "web/{n}"]),
        ("--failing", &["--failing", "101"]),
        ("--silent", &["--silent", "-1"]),
        ("--slow", &["--slow", "half"]),
        ("--flapping", &["--flapping", "60", "--failing", "60"]),
        ("--latency", &["--latency", "often"]),
        ("--latency", &["--latency", "4kB"]),
        ("--latency", &["--latency", "uniform:5..1"]),
        ("--size", &["--size", "10ms"]),
        ("--size", &["--size", "gauss:1"]),
        ("--grains", &["--grains", gone]),
        ("--grains", &["--grains", &list]),
        ("--grains", &["--grains", &text]),
        ("--verify", &["--verify", gone]),
        ("--verify", &["--verify", &text]),
        ("--mix", &["--mix", gone]),
        ("--mix", &["--mix", &mix]),
        ("--publish", &["--publish", "cmd.run 'ls"]),
        ("--report", &["--report", gone]),
        ("--journal", &["--journal", gone]),
        ("--rate", &["--rate", "fast"]),
        ("--every", &["--every", "soon", "--publish", "test.ping"]),
        ("--run", &["--run", "-3"]),
    ];
    for (option, args) in cases {
        let output = Output::of(swarm_command(&[&["--masters", "127.0.0.1:1"], args].concat()));
        refused(&output, option);
    }
    for masters in ["no-such-host.invalid", "", "a b", "127.0.0.1:0", "127.0.0.1,127.0.0.1"] {
        let output = Output::of(swarm_command(&["--masters", masters, "-n", "1"]));
        refused(&output, "--masters");
    }
}

fn refused(output: &Output, option: &str) {
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let first = output.stderr.lines().next().unwrap_or_default();
    assert!(first.contains(option), "{option} is not named: {output:?}");
}

#[test]
fn sigterm_ends_with_a_summary_and_json_alone_is_printed() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = started(&fleet, "m1");
    let report = fleet.root().join("report.json");
    let plan = SwarmPlan::of(&fleet, 5, &[&master]).option("--report", report.to_str().unwrap());
    let mut swarm = plan.start();
    swarm.wait_connected();
    let (status, _) = swarm.process().stop();
    assert_eq!(status.code(), Some(0));
    let end = swarm.now().clone();
    assert_eq!((&end["event"], &end["connected"]), (&json!("end"), &json!(5)));
    let written: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(written, end);

    let keys = fleet.root().join("swarm-keys");
    let common = ["--masters", &master.address.to_string(), "-n", "5", "--until", "connected"];
    let ended = |extra: &[&str]| {
        let mut command = swarm_command(&[&common, extra].concat());
        let output = Output::of({
            command.args(["--key-dir", keys.to_str().unwrap()]);
            command
        });
        assert_eq!(output.code, 0, "{output:?}");
        output.stdout
    };
    let printed = ended(&["--json"]);
    let lines: Vec<Value> = printed.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["event"], "end");
    // Without it the summary is for people.
    let printed = ended(&[]);
    assert!(printed.contains("\n5 of 5 connected ("), "{printed}");
}

#[test]
fn two_processes_share_a_fleet_and_divide_it_anew() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = started(&fleet, "m1");
    let keys = fleet.root().join("keys");
    let part = |name: &str, first: usize, count: usize, keys_are: &str| {
        SwarmPlan::new(fleet.root(), name, count, &[&master])
            .option("--id", "one-{n:03}")
            .option("--key-dir", keys.to_str().unwrap())
            .option("--first", &first.to_string())
            .option("--keys", keys_are)
            .option("--key-pool", "4")
    };
    // A minion has the same key whoever runs it, or the master would deny it the second time.
    for (border, name) in [(10, "a"), (13, "b")] {
        let mut low = part(&format!("{name}1"), 0, border, "shared").start();
        let mut high = part(&format!("{name}2"), border, 20 - border, "shared").start();
        low.wait_connected();
        high.wait_connected();
        let answers = asked(&master, "one-*", 20);
        let found: BTreeSet<_> = answers.as_object().unwrap().keys().cloned().collect();
        assert_eq!(found, (0..20).map(|n| format!("one-{n:03}")).collect());
        low.stop();
        high.stop();
    }
    let mut distinct = part("c", 30, 2, "distinct").start();
    distinct.wait_connected();
    distinct.stop();
    let made = fs::read_dir(keys).unwrap().count();
    assert_eq!(made, 4 + 2, "four shared keys, and one each for number 30 and 31");
}

#[test]
fn a_change_of_masters_and_a_return_to_the_same_one_are_gaps() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut masters = fleet.signed_masters_here(2, MASTER);
    let mut first = masters.remove(0);
    let plan = SwarmPlan::of(&fleet, 10, &[&first, &masters[0]]).verify(&first);
    let mut swarm = plan.start();
    swarm.wait_connected();
    first.process().kill();
    let there = masters[0].address.to_string();
    let line = swarm.until("all to be at the second", |line| line["masters"][&there] == 10);
    assert!(line["switches"].as_u64() >= Some(10), "{line}");
    assert!(line["latency_ms"]["gap"]["max"].is_number(), "{line}");
    assert!(line["gaps"].as_u64() >= Some(10), "{line}");
    swarm.stop();

    let mut alone = SwarmPlan::new(fleet.root(), "alone", 3, &[&masters[0]]).start();
    alone.wait_connected();
    masters[0].process().kill();
    let before = alone.until("the loss to be noticed", |line| line["lost"] == 3);
    masters[0].start();
    alone.wait_connected();
    let end = alone.stop();
    assert!(end["gaps"].as_u64() >= before["gaps"].as_u64().map(|gaps| gaps + 3), "{end}");
    assert_eq!(end["switches"], 0, "{end}");
}
