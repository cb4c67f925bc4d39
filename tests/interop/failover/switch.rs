//! What a switch and a change of keys bring along: the new master's pillar before its first job (R9),
//! the mine, and jobs published between two keys (R11).

use std::fs;

use saltern_interop::{Fleet, Master, Minion, Peer, wait};
use serde_json::json;

const FAILOVER: &str = "master_type: failover\nverify_master_pubkey_sign: True\nretry_dns: 0";

/// Two running masters and a minion that prefers the first, with more options of its own.
fn fleet(options: &str) -> (Fleet, [Master; 2], Minion) {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (first, second) = fleet.signed_masters();
    let minion = fleet.minion("min", &[&first, &second], FAILOVER);
    fs::write(minion.conf().join("minion.d/more.conf"), options).unwrap();
    let masters = [first, second];
    fleet.introduce(&minion, &masters);
    (fleet, masters, minion)
}

#[test]
fn r9_the_first_job_of_a_new_master_sees_its_pillar() {
    let (_fleet, [mut first, second], mut minion) = fleet("");
    for (master, name) in [(&first, "first"), (&second, "second")] {
        let dir = master.root().join("srv/pillar");
        fs::write(dir.join("top.sls"), "base: {'*': [who]}\n").unwrap();
        fs::write(dir.join("who.sls"), format!("who: {name}\n")).unwrap();
    }
    minion.start();
    first.wait_ping("min");
    assert_eq!(first.salt(&["min", "pillar.get", "who"]), json!({"min": "first"}));
    first.process().kill();
    // Whatever is answered first, it knows the second master's pillar.
    let who = wait::until("an answer on the second master", || {
        let args = ["--out", "json", "--static", "-t", "2", "min", "pillar.get", "who"];
        let reply: serde_json::Value =
            serde_json::from_str(&second.run("salt", &args).stdout).ok()?;
        reply["min"].as_str().map(str::to_owned).filter(|who| !who.starts_with("Minion did not"))
    });
    assert_eq!(who, "second");
}

#[test]
fn the_mine_is_there_for_the_new_master_without_waiting_for_its_interval() {
    let mine = "mine_enabled: True\nmine_interval: 60\nmine_functions: {test.echo: [here]}";
    let (_fleet, [mut first, second], mut minion) = fleet(mine);
    minion.start();
    first.wait_ping("min");
    let held = |master: &Master| {
        let output = master.run("salt-run", &["cache.mine", "tgt=min", "--out", "json"]);
        output.stdout.contains("here").then_some(())
    };
    wait::until("the mine on the first master", || held(&first));
    assert_eq!(held(&second), None, "nothing was sent there");
    first.process().kill();
    second.wait_ping("min");
    wait::until("the mine on the second master", || held(&second));
}

#[test]
fn r11_what_is_published_between_two_keys_runs_when_the_minions_have_the_new_one() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    let ids = ["min1", "min2", "min3", "min4"];
    let mut minions: Vec<Minion> = Vec::new();
    for id in ids {
        let minion = fleet.minion(id, &[&master], "");
        // Replaces the shorter time all minions of the bench have.
        fs::write(minion.conf().join("minion.d/spread.conf"), "random_reauth_delay: 6\n").unwrap();
        let public = minion.make_keys(&master);
        master.preseed(id, &public);
        minions.push(minion);
    }
    for gone in ["gone1", "gone2"] {
        master.preseed(gone, &minions[0].pki().join("minion.pub"));
    }
    master.start();
    minions.iter_mut().for_each(Minion::start);
    ids.iter().for_each(|id| master.wait_ping(id));
    // Each deleted key has the master make a new AES key. The second one is made while minions have
    // not yet asked for the first, with which the first jobs are sealed.
    let mut jids: Vec<String> = Vec::new();
    for (number, gone) in ["gone1", "gone2"].into_iter().enumerate() {
        let deleted = master.run("salt-key", &["-y", "-d", gone]);
        assert_eq!(deleted.code, 0, "{deleted:?}");
        wait::until("the new key", || {
            let log = fs::read_to_string(master.root().join("log")).unwrap();
            (log.matches("Rotating master AES key").count() > number).then_some(())
        });
        for _ in 0..4 {
            let text = format!("job {}", jids.len());
            let output = master.run("salt", &["--async", "*", "test.echo", &text]);
            let jid = output.stdout.split_whitespace().find(|w| w.len() == 20);
            jids.push(jid.unwrap_or_else(|| panic!("no job id in {output:?}")).to_owned());
        }
    }
    for (number, jid) in jids.iter().enumerate() {
        let all = wait::until("every minion's return", || {
            let output = master.run("salt-run", &["jobs.lookup_jid", jid, "--out", "json"]);
            let found = output.json();
            (found.as_object()?.len() == ids.len()).then_some(found)
        });
        for id in ids {
            assert_eq!(all[id], format!("job {number}"), "{all}");
        }
    }
    for minion in &minions {
        let log = minion.log();
        let times = |words: &str| log.matches(words).count();
        // A machine that stands still for a while has it make its connection anew.
        let anew = times(" lost: ") + times("A fresh connection to the Salt Master");
        let sign_ins = times("Authentication with master at");
        let wanted = 2..=3 + anew;
        assert!(
            wanted.contains(&sign_ins),
            "{}: {sign_ins} sign-ins, not one at the start and one or two for the new keys: {log}",
            minion.id
        );
    }
}
