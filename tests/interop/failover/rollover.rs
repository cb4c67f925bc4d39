//! Keys that change: the signing pair of the masters, master keys that are revoked, masters with
//! keys of their own, signatures made ahead of time.

use std::fs;
use std::path::Path;

use saltern_interop::{Fleet, Master, Minion, Peer, wait};
use serde_json::Value;

const ALWAYS: &str = "verify_master_pubkey_sign: True\nalways_verify_signature: True";

/// One call of the roll-over: its exit status and what it printed.
fn rotate(master: &Master, more: &[&str]) -> (i32, Value) {
    let mut args = vec!["--rotate-master-sign", "--yes", "--out", "json"];
    args.extend(more);
    let output = master.run("salt-key", &args);
    assert!(!output.stdout.is_empty(), "{output:?}");
    (output.code, output.json())
}

fn ids(state: &Value, group: &str) -> Vec<String> {
    let list = state["minions"][group].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// A minion of either kind that verifies every sign-in with the key in `key`, accepted.
fn verifying(fleet: &Fleet, peer: Peer, id: &str, master: &Master, key: &Path) -> Minion {
    let minion = Minion::prepare(peer, id, &fleet.root().join(id), &[master], ALWAYS);
    master.preseed(id, &minion.make_keys(master));
    fs::copy(key, minion.pki().join("master_sign.pub")).unwrap();
    minion
}

fn signs_in(minion: &Minion) {
    let output = minion.call(&["--out", "json", "test.ping"]);
    assert!(output.code == 0 && output.stdout.contains("true"), "{}: {output:?}", minion.id);
}

#[test]
fn the_signing_pair_rolls_over_and_every_minion_can_verify_at_any_time() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "master_sign_pubkey: True");
    master.start();
    let file = |name: &str| master.pki().join(name);
    let former = fleet.root().join("former.pub");
    fs::copy(file("master_sign.pub"), &former).unwrap();
    let mut ours = verifying(&fleet, Peer::Saltern, "ours", &master, &former);
    let stock = verifying(&fleet, Peer::Salt3006, "stock", &master, &former);
    ours.start();
    master.wait_ping("ours");

    let (code, state) = rotate(&master, &[]);
    assert_eq!(
        (code, &state["done"], &state["next_step"]),
        (0, &"create".into(), &"activate".into())
    );
    assert_eq!(
        (ids(&state, "behind"), ids(&state, "unknown")),
        (vec!["ours".into()], vec!["stock".into()])
    );
    let (code, again) = rotate(&master, &[]);
    assert_eq!((code, &again["done"]), (1, &"".into()), "nobody has the new key: {again}");
    assert_eq!(again["next"], state["next"], "nothing is made twice");

    // Both keys at once here, the new one alone there, and the master in the middle.
    fs::copy(file("master_sign_next.pub"), ours.pki().join("master_sign_next.pub")).unwrap();
    wait::until("the minion has told of the new key", || {
        let (_, state) = rotate(&master, &[]);
        ids(&state, "ready").contains(&"ours".to_owned()).then_some(())
    });
    fs::copy(file("master_sign_next.pub"), stock.pki().join("master_sign.pub")).unwrap();
    let (code, told) = rotate(&master, &["--holders", "sto*"]);
    assert_eq!((code, ids(&told, "ready")), (0, vec!["ours".into(), "stock".into()]), "{told}");
    signs_in(&stock);

    let (code, active) = rotate(&master, &[]);
    assert_eq!((code, &active["done"]), (0, &"activate".into()), "{active}");
    assert_eq!((&active["active"], &active["former"]), (&state["next"], &state["active"]));
    for minion in [&ours, &stock] {
        signs_in(minion);
    }
    // One that was away comes back with the former key only.
    let late = verifying(&fleet, Peer::Saltern, "late", &master, &former);
    signs_in(&late);
    let (code, waits) = rotate(&master, &[]);
    assert_eq!((code, ids(&waits, "behind")), (1, vec!["late".into()]), "{waits}");
    // One that verifies and holds no key at all is no better off.
    fs::remove_file(late.pki().join("master_sign.pub")).unwrap();
    assert_ne!(late.call(&["test.ping"]).code, 0);
    let (code, waits) = rotate(&master, &[]);
    assert_eq!((code, ids(&waits, "behind")), (1, vec!["late".into()]), "{waits}");
    fs::copy(file("master_sign.pub"), late.pki().join("master_sign.pub")).unwrap();
    signs_in(&late);
    let (code, end) = rotate(&master, &[]);
    assert_eq!((code, &end["done"], &end["next_step"]), (0, &"retire".into(), &"create".into()));
    assert!(!file("master_sign_old.pem").exists());
    for minion in [&ours, &stock, &late] {
        signs_in(minion);
    }
}

#[test]
fn a_revoked_master_key_is_not_believed_without_a_restart() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, minion) = fleet.pair("", "");
    let finger = master.run("salt-key", &["-f", "master.pub", "--out", "json"]).json();
    let finger = finger["local"]["master.pub"].as_str().unwrap().to_owned();
    let list = minion.pki().join("revoked_master_fingerprints");
    fs::write(&list, format!("# stolen\n{finger}\n")).unwrap();
    let output = minion.call(&["test.ping"]);
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("revoked") && output.stderr.contains(&finger), "{output:?}");
    fs::remove_file(&list).unwrap();
    signs_in(&minion);
}

#[test]
fn a_connected_minion_leaves_a_master_whose_key_is_revoked() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (first, second) = fleet.signed_masters();
    let options = "verify_master_pubkey_sign: True\nmaster_type: failover";
    let mut minion = fleet.minion("min", &[&first, &second], options);
    let public = minion.make_keys(&first);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    first.wait_ping("min");
    let finger = first.run("salt-key", &["-f", "master.pub", "--out", "json"]).json();
    let finger = finger["local"]["master.pub"].as_str().unwrap().to_owned();
    fs::write(minion.pki().join("revoked_master_fingerprints"), finger).unwrap();
    second.wait_ping("min");
    // It is we who do not believe the master: nobody is to look for a rejected key there.
    wait::until("the reason", || {
        let status = minion.call(&["--local", "--out", "json", "failover.status"]).json();
        let why = status["local"]["masters"][first.address.to_string()].clone();
        let text = why["text"].as_str().unwrap_or_default();
        (why["reason"] == "key not trusted" && text.contains("revoked")).then_some(())
    });
}

#[test]
fn masters_with_keys_of_their_own_do_not_undo_each_other() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, mut second) = (fleet.master("m1", ""), fleet.master("m2", ""));
    first.start();
    second.start();
    let mut minion = fleet.minion("min", &[&first, &second], "");
    let public = minion.make_keys(&first);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    for _ in 0..2 {
        minion.start();
        first.wait_ping("min");
        second.wait_ping("min");
        minion.process().stop();
    }
    let key = |master: &Master| fs::read_to_string(master.pki().join("master.pub")).unwrap();
    for master in [&first, &second] {
        let file = minion.pki().join(format!("masters/{}.pub", master.address));
        assert_eq!(fs::read_to_string(file).unwrap().trim(), key(master).trim());
    }
    // Another key at a known name is not believed, and the message has what is needed.
    second.process().stop();
    let finger = |of: &Master| {
        let output = of.run("salt-key", &["-f", "master.pub", "--out", "json"]).json();
        output["local"]["master.pub"].as_str().unwrap().to_owned()
    };
    let known = finger(&second);
    for name in ["master.pem", "master.pub"] {
        fs::remove_file(second.pki().join(name)).unwrap();
    }
    second.start();
    let presented = finger(&second);
    minion.start();
    first.wait_ping("min");
    let file = format!("masters/{}.pub", second.address);
    wait::until("an error with both fingerprints and the file", || {
        let log = minion.log();
        let mut lines = log.lines();
        lines
            .any(|line| [&known, &presented, &file].iter().all(|text| line.contains(text.as_str())))
            .then_some(())
    });
}

#[test]
fn signatures_made_ahead_never_overwrite_and_name_what_is_missing() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    master.start();
    let sign = |more: &[&str]| {
        let mut args = vec!["--gen-signature"];
        args.extend(more);
        master.run("salt-key", &args)
    };
    let none = sign(&[]);
    assert!(none.code != 0 && none.stderr.contains("master_sign.pem"), "{none:?}");
    let missing = fleet.root().join("missing");
    let nowhere = sign(&["--auto-create", "--signature-path", missing.to_str().unwrap()]);
    assert!(nowhere.code != 0 && nowhere.stderr.contains("missing"), "{nowhere:?}");
    assert!(!master.pki().join("master_sign.pem").exists(), "nothing is made for nothing");
    let made = sign(&["--auto-create"]);
    assert_eq!(made.code, 0, "{made:?}");
    let file = master.pki().join("master_pubkey_signature");
    let before = fs::read(&file).unwrap();
    let again = sign(&[]);
    assert!(again.code != 0 && again.stderr.contains("there already"), "{again:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
}
