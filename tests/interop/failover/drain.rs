//! Planned work: a master is emptied while jobs run and nothing is lost; it stays empty over a
//! restart, says who is left and why, and takes minions again.

use std::fs;
use std::path::Path;
use std::thread;

use saltern_interop::{Fleet, Master, Minion, Output, Peer, wait};

const FAILOVER: &str = "master_type: failover\nverify_master_pubkey_sign: True\n\
                        master_alive_interval: 1\nretry_dns: 0\nmaster_tries: -1";

/// A started minion whose key is accepted by all these masters.
fn minion(fleet: &Fleet, peer: Peer, id: &str, masters: &[&Master]) -> Minion {
    minion_with(fleet, peer, id, masters, FAILOVER)
}

fn minion_with(fleet: &Fleet, peer: Peer, id: &str, masters: &[&Master], options: &str) -> Minion {
    let root = fleet.root().join(id);
    let mut minion = Minion::prepare(peer, id, &root, masters, options);
    let public = minion.make_keys(masters[0]);
    for master in masters {
        master.preseed(id, &public);
    }
    let signing = masters[0].pki().join("master_sign.pub");
    fs::copy(signing, minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    minion
}

fn salt_run(master: &Master, args: &[&str]) -> Output {
    let mut all = vec!["--out", "json"];
    all.extend(args);
    master.run("salt-run", &all)
}

fn status(master: &Master) -> serde_json::Value {
    salt_run(master, &["master.drain_status"]).json()
}

/// The name the minions of the harness have for it.
fn name(master: &Master) -> String {
    master.address.to_string()
}

/// Starts a job that takes its time and returns its id.
fn start_job(master: &Master, seconds: u32) -> String {
    let command = format!("sleep {seconds}; echo finished");
    let output = master.run("salt", &["--async", "--out", "json", "*", "cmd.run", &command]);
    let jid = output.stdout.split(|c: char| !c.is_ascii_digit()).find(|text| text.len() == 20);
    jid.unwrap_or_else(|| panic!("no job id in {output:?}")).to_owned()
}

fn results(master: &Master, jid: &str) -> serde_json::Value {
    salt_run(master, &["jobs.lookup_jid", jid]).json()
}

#[test]
fn ours_and_stock_minions_leave_a_drained_master_and_return_their_jobs() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (first, second) = fleet.signed_masters();
    let masters = [&first, &second];
    let ids = ["ours", "old", "new"];
    let _ours = minion(&fleet, Peer::Saltern, "ours", &masters);
    let _old = minion(&fleet, Peer::Salt3006, "old", &masters);
    let _new = minion(&fleet, Peer::Salt3008, "new", &masters);
    for id in ids {
        first.wait_ping(id);
    }
    let jid = start_job(&first, 5);
    let to = name(&second);
    wait::until("the minion has told which masters it lists", || {
        let state = salt_run(&first, &["manage.failover", "ask=False"]);
        state.stdout.contains(&to).then_some(())
    });
    let nobody = salt_run(&first, &["master.drain", "--to", "nobody.example.org"]);
    assert!(nobody.code == 1 && nobody.stdout.contains(&to), "{nobody:?}");
    assert_eq!(status(&first)["draining"], false, "a name on nobody's list changes nothing");
    let drain = ["-t", "110", "master.drain", "--to", &to, "--within", "1", "--wait"];
    let (drained, there) = thread::scope(|scope| {
        let drained = scope.spawn(|| salt_run(&first, &drain));
        // Whoever is on the other master already can be worked with while the rest leaves.
        second.wait_ping("ours");
        let there = second.salt(&["ours", "test.ping"]);
        (drained.join().unwrap(), there)
    });
    assert_eq!(there["ours"], true);
    assert_eq!(drained.code, 0, "{drained:?}");
    assert_eq!(drained.json()["drained"], true, "{drained:?}");
    for id in ids {
        // Ours has left with the job running: its return lies on its disk until a master has it.
        let what = format!("the return of {id}");
        let found = wait::until(&what, || {
            let found = [&first, &second].map(|master| results(master, &jid)[id].clone());
            found.into_iter().find(|result| !result.is_null())
        });
        assert_eq!(found, "finished");
        second.wait_ping(id);
    }
    let both = second.salt(&["*", "test.ping"]);
    assert!(ids.iter().all(|id| both[id] == true), "{both}");
    assert!(!first.pings("ours"));
}

#[test]
fn a_drained_master_stays_so_over_a_restart_and_sends_minions_on_until_undrained() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    assert_eq!(status(&first)["draining"], false);
    let drained = salt_run(&first, &["master.drain", "wait=True", "within=0"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    assert!(!first.address.answers(4505) && first.address.answers(4506));

    first.process().stop();
    first.start_at(&[4506]);
    assert_eq!(status(&first)["drained"], true);
    let log = fs::read_to_string(first.root().join("log")).unwrap();
    assert!(log.matches("This master is being drained").count() >= 2, "{log}");
    wait::until("the port is closed", || (!first.address.answers(4505)).then_some(()));

    let late = minion(&fleet, Peer::Saltern, "late", &[&first, &second]);
    let stock = minion(&fleet, Peer::Salt3006, "stock", &[&first, &second]);
    second.wait_ping("late");
    second.wait_ping("stock");
    let log = fs::read_to_string(first.root().join("log")).unwrap();
    for id in ["late", "stock"] {
        assert!(log.contains(&format!("{id} is sent on")), "{log}");
    }
    drop((late, stock));

    let undrained = salt_run(&first, &["master.undrain"]);
    assert_eq!(undrained.code, 0, "{undrained:?}");
    assert!(first.address.answers(4505));
    assert_eq!(status(&first)["draining"], false);
    let _back = minion(&fleet, Peer::Saltern, "back", &[&first, &second]);
    first.wait_ping("back");
    first.process().stop();
    first.start();
    assert_eq!(status(&first)["draining"], false);
}

#[test]
fn who_is_on_all_masters_at_once_is_let_go_and_the_drained_one_says_that_jobs_miss_it() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (first, second) = fleet.signed_masters();
    let options = FAILOVER.replace("master_type: failover", "master_type: str");
    let _hot = minion_with(&fleet, Peer::Saltern, "hot", &[&first, &second], &options);
    for master in [&first, &second] {
        master.wait_ping("hot");
    }
    wait::until("the report of both connections", || {
        let fleet = salt_run(&first, &["manage.failover"]).json();
        let on = fleet["minions"]["hot"]["on"].as_array().cloned().unwrap_or_default();
        (on.len() == 2).then_some(())
    });
    let drained =
        salt_run(&first, &["-t", "110", "master.drain", "--within", "0", "--wait", "timeout=100"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    assert_eq!(second.salt(&["hot", "test.ping"])["hot"], true);
    // Once more says how it is.
    assert_eq!(salt_run(&first, &["master.drain"]).json()["drained"], true);
    let missed = first.run("salt", &["--async", "hot", "test.ping"]);
    assert_eq!(missed.code, 0, "{missed:?}");
    assert!(missed.stderr.contains("is being drained"), "{missed:?}");
    let there = second.run("salt", &["--async", "hot", "test.ping"]);
    assert!(!there.stderr.contains("drained"), "{there:?}");
}

#[test]
fn who_has_nowhere_to_go_stays_and_is_named() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (first, mut second) = fleet.signed_masters();
    let minion = minion(&fleet, Peer::Saltern, "min", &[&first, &second]);
    first.wait_ping("min");
    second.process().stop();
    let drain = ["master.drain", "wait=True", "within=0", "timeout=3"];
    let failed = salt_run(&first, &drain);
    assert_ne!(failed.code, 0, "{failed:?}");
    assert!(failed.stdout.contains("This master is not empty"), "{failed:?}");
    assert!(failed.json()["minions"]["min"].is_string(), "{failed:?}");
    // It can be worked with as long as it is here.
    first.wait_ping("min");
    // As soon as there is somewhere to go it goes.
    second.start();
    second.wait_ping("min");
    let drained = salt_run(&first, &["-t", "100", "master.drain", "--wait"]);
    assert_eq!(drained.code, 0, "{drained:?}\n{}", minion.log());
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    master.start();
    for words in [
        ["master.drain", "within=soon"].as_slice(),
        &["master.drain", "to="],
        &["master.drain", "timeout=-1"],
        &["master.undrain", "now"],
        &["--to", "m2", "test.arg"],
    ] {
        let output = salt_run(&master, words);
        assert_ne!(output.code, 0, "{words:?} {output:?}");
    }
    assert_eq!(status(&master)["draining"], false);
    assert!(!Path::new(&master.root().join("cache/drain.json")).exists());
    assert_eq!(salt_run(&master, &["master.undrain"]).code, 0);
}
