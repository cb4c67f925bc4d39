//! `salt-run manage.health`: all is well with a fleet at work, and what was lost or refused over a
//! real socket is told, with the way out and exit status 1; the file for monitoring.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use saltern_interop::{Fleet, Master, Minion, Peer, wait};
use serde_json::{Value, json};

fn fleet() -> Fleet {
    Fleet::new(Peer::Saltern, Peer::Saltern)
}

fn alone(fleet: &Fleet, extra: &str) -> Master {
    let mut master = fleet.master("m1", extra);
    master.start();
    master
}

/// The answer and the exit status.
fn health(master: &Master) -> (Value, i32) {
    let output = master.run("salt-run", &["manage.health", "--out", "json"]);
    (output.json(), output.code)
}

fn value(health: &Value, line: &str) -> u64 {
    health["lines"][line]["value"].as_u64().unwrap_or_else(|| panic!("no {line} in {health}"))
}

/// That a line says lost, with a way out, and that the whole says so too.
fn assert_lost(master: &Master, line: &str) {
    let (told, code) = health(master);
    assert_eq!((code, &told["healthy"]), (1, &json!(false)), "{told}");
    assert!(told["lost"].as_array().unwrap().contains(&json!(line)), "{told}");
    let of = &told["lines"][line];
    assert_eq!((&of["ok"], &of["state"]), (&json!(false), &json!("lost")), "{of}");
    assert!(of["text"].as_str().is_some_and(|text| text.len() > 20), "no way out: {of}");
    // For people the same, with the sentence.
    let plain = master.run("salt-run", &["manage.health"]);
    assert_eq!(plain.code, 1, "{plain:?}");
    assert!(plain.stdout.contains(line) && plain.stdout.contains("lost"), "{plain:?}");
}

#[test]
fn a_fleet_at_work_is_well() {
    let fleet = fleet();
    let (master, _minion) = fleet.pair("", "");
    for _ in 0..3 {
        assert_eq!(master.salt(&["min", "test.ping"]), json!({"min": true}));
    }
    let (told, code) = health(&master);
    assert_eq!((code, &told["healthy"], &told["lost"]), (0, &json!(true), &json!([])), "{told}");
    assert!(told["summary"].is_string() && told["uptime"].as_f64().unwrap() > 0.0, "{told}");
    for line in ["subscribers", "request_connections", "requests", "sign_ins_served"] {
        assert!(value(&told, line) >= 1, "{line}: {told}");
    }
    for (name, line) in told["lines"].as_object().unwrap() {
        let (ok, state) = (line["ok"].as_bool().unwrap(), line["state"].as_str().unwrap());
        assert!(line["value"].is_u64() && line["what"].is_string(), "{name}: {line}");
        assert_eq!((ok, line.get("text").is_some()), (state == "ok", state != "ok"), "{name}");
    }
    let plain = master.run("salt-run", &["manage.health"]);
    assert_eq!(plain.code, 0, "{plain:?}");
    assert!(plain.stdout.contains("sign_ins_served"), "{plain:?}");
}

/// A ZMTP subscriber to everything that reads no publication.
fn deaf(master: &Master) -> TcpStream {
    let mut stream = TcpStream::connect(master.address.port(4505)).unwrap();
    stream.set_read_timeout(Some(wait::LONG)).unwrap();
    let mut hello = vec![0; 64];
    (hello[0], hello[9], hello[10]) = (0xff, 0x7f, 3);
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend_from_slice(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB");
    hello.extend_from_slice(&[0, 1, 1]);
    stream.write_all(&hello).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream
}

#[test]
fn publications_a_deaf_subscriber_did_not_get_are_lost() {
    let fleet = fleet();
    let (master, _minion) = fleet.pair("pub_hwm: 2", "");
    let deaf = deaf(&master);
    let text = "x".repeat(100_000);
    // As many as the sockets between take, and two more that wait.
    wait::until("a publication to be lost", || {
        for _ in 0..10 {
            master.run("salt", &["--async", "min", "test.ping", &text]);
        }
        (value(&health(&master).0, "publications_lost") > 0).then_some(())
    });
    assert_lost(&master, "publications_lost");
    assert_eq!(master.salt(&["min", "test.ping"]), json!({"min": true}), "the others go on");
    drop(deaf);
    // Who has seen it and wants to know of the next one counts from now on.
    wait::until("its connection to be gone", || {
        (value(&health(&master).0, "subscribers") == 1).then_some(())
    });
    assert_eq!(master.run("salt-run", &["manage.health", "reset=True"]).code, 1);
    assert_eq!(value(&health(&master).0, "publications_lost"), 0);
}

#[test]
fn connections_for_which_there_is_no_room_are_told() {
    let fleet = fleet();
    let master = alone(&fleet, "max_connections_per_address: 4");
    let crowd: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(master.address.port(4505)).unwrap()).collect();
    wait::until("16 of them to be refused", || {
        (value(&health(&master).0, "connections_refused") >= 16).then_some(())
    });
    assert_lost(&master, "connections_refused");
    drop(crowd);
}

#[test]
fn what_a_minion_without_a_key_sends_is_refused_and_counted() {
    let fleet = fleet();
    let (master, mut minion): (Master, Minion) = fleet.pair("", "");
    let refused = |told: &Value| value(told, "refused_no_session_opens_it");
    let before = refused(&health(&master).0);
    master.run("salt", &["--async", "min", "test.sleep", "3"]);
    let deleted = master.run("salt-key", &["-y", "-d", "min"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    // Its return, and what it asks to see whether this master lives.
    wait::until("it to be refused", || (refused(&health(&master).0) > before).then_some(()));
    assert!(minion.process().is_running());
    // Nobody lost anything that this master had promised to keep.
    let (told, _) = health(&master);
    assert_eq!(told["lines"]["refused_no_session_opens_it"]["state"], "ok", "{told}");
}

#[test]
fn the_file_for_monitoring_is_tried_again_until_it_can_be_written() {
    let fleet = fleet();
    // Below root_dir, like all paths.
    let mut master = alone(&fleet, "health_file: /later/health.prom");
    wait::until("the option to be named", || {
        master.process().printed().contains("option 'health_file'").then_some(())
    });
    let dir = master.root().join("later");
    fs::create_dir(&dir).unwrap();
    let text = wait::until("the file", || fs::read_to_string(dir.join("health.prom")).ok());
    // A whole one: each line is a remark, or a name with a number.
    let is_remark = |line: &str| line.starts_with("# HELP ") || line.starts_with("# TYPE ");
    let is_sample = |line: &str| {
        let (name, number) = line.split_once(' ').unwrap_or_default();
        name.starts_with("saltern_master_") && number.parse::<f64>().is_ok()
    };
    let odd: Vec<_> = text.lines().filter(|line| !is_remark(line) && !is_sample(line)).collect();
    assert!(odd.is_empty() && text.ends_with('\n'), "{odd:?}");
    assert!(text.contains("\nsaltern_master_publications_lost_total 0\n"), "{text}");
    // Maybe it is being written once more.
    wait::until("nothing else to be left behind", || {
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        (names == ["health.prom"]).then_some(())
    });
}
