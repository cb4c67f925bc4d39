//! A job reaches those it is meant for, and costs the others nothing.

use std::fs;

use saltern_interop::{Fleet, Peer, SwarmPlan};

#[test]
fn a_list_of_ten_among_three_hundred_reaches_only_those() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "auto_accept: True");
    master.start();
    let mut swarm = SwarmPlan::of(&fleet, 300, &[&master]).start();
    swarm.wait_connected();
    let before = swarm.now()["publications"].as_u64().unwrap();
    let ids: Vec<String> = (0..10).map(|n| format!("swarm-{}", n * 30)).collect();
    let answers = master.salt(&["-L", &ids.join(","), "test.ping"]);
    assert_eq!(answers.as_object().unwrap().len(), 10, "{answers}");
    let line = swarm.until("ten answers", |line| line["answered"].as_u64() == Some(10));
    let publications = line["publications"].as_u64().unwrap() - before;
    assert_eq!(publications, 10, "a job for ten minions was sent to others: {line}");

    // And a broadcast reaches all.
    let answers = master.salt(&["*", "test.ping"]);
    assert_eq!(answers.as_object().unwrap().len(), 300);
    let line = swarm.until("all answers", |line| line["answered"].as_u64() == Some(310));
    assert_eq!(line["publications"].as_u64().unwrap() - before, 310, "{line}");
}

#[test]
fn grains_decide_who_is_sent_a_job() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "auto_accept: True");
    master.start();
    let start = |name: &str, count: usize, os: &str| {
        let grains = fleet.root().join(format!("{name}.grains"));
        fs::write(&grains, format!("os: {os}\nnumber: '{{n}}'\n")).unwrap();
        let plan = SwarmPlan::new(fleet.root(), name, count, &[&master]);
        plan.option("--grains", grains.to_str().unwrap()).start()
    };
    let (mut red, mut blue) = (start("red", 40, "Red"), start("blue", 160, "Blue"));
    red.wait_connected();
    blue.wait_connected();
    let answers = master.salt(&["-G", "os:Red", "test.ping"]);
    let ids: Vec<_> = answers.as_object().unwrap().keys().cloned().collect();
    assert_eq!(ids.len(), 40, "{ids:?}");
    assert!(ids.iter().all(|id| id.starts_with("red-")), "{ids:?}");
    let answers = master.salt(&["-C", "G@os:Blue and *-7", "grains.get", "number"]);
    assert_eq!(answers, serde_json::json!({"blue-7": "7"}));
    blue.until("one answer", |line| line["answered"].as_u64() == Some(1));
    red.until("forty answers", |line| line["answered"].as_u64() == Some(40));
}
