//! A herd of sign-ins: each id is answered, and who is connected is served meanwhile.

use std::path::Path;
use std::process::Command;
use std::thread;

use saltern_interop::{Fleet, Master, Output, Peer, wait};

/// Sign-ins of so many ids at a time by an independent client.
fn storm(master: &Master, ids: usize) -> Output {
    let mut command: Command = Peer::Salt3006.program("python");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile").join("storm.py"));
    command.arg(master.address.to_string()).arg(ids.to_string());
    Output::of(command)
}

fn sign_ins(master: &Master) -> serde_json::Value {
    let output = master.run("salt-run", &["--out", "json", "master.drain_status"]);
    output.json()["sign_ins"].clone()
}

#[test]
fn a_storm_of_sign_ins_is_served_and_connected_minions_answer_meanwhile() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, _minion) = fleet.pair("auto_accept: True", "");
    thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&master, 200));
        let mut pings = 0;
        while !storm.is_finished() || pings == 0 {
            assert_eq!(master.salt(&["min", "test.ping"])["min"], true);
            pings += 1;
        }
        let output = storm.join().unwrap();
        let said = output.json();
        assert_eq!(said["answered"], 200, "{output:?}");
        assert_eq!(said["verdicts"], serde_json::json!(["accepted"]), "{output:?}");
    });
    // Each id asked twice, and the storm ends with the first answer to the last one.
    let counted = wait::until("nobody to wait any more", || {
        let counted = sign_ins(&master);
        (counted["waiting"] == 0).then_some(counted)
    });
    assert!(counted["served"].as_u64().unwrap() >= 200, "{counted}");
}

#[test]
fn a_full_queue_sends_stock_minions_on_instead_of_letting_them_wait() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let extra = "auto_accept: True\nfailover_sign_in_queue: 5";
    let (master, _minion) = fleet.pair(extra, "");
    let said = storm(&master, 60).json();
    assert_eq!(said["answered"], 60, "{said}");
    let counted = sign_ins(&master);
    assert!(counted["most_waiting"].as_u64().unwrap() <= 5, "{counted}");
    master.wait_ping("min");
}
