//! {our master, real master} x {our minion, real minion}: every scenario on every pair in which
//! at least one side is ours. `differences.toml` lists what is known to differ, and why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};

use saltern_interop::{Fleet, Master, Minion, Output, Peer, wait};
use serde_json::json;

/// Failover as the recipe sets it, with a short interval.
const FAILOVER: &str = "master_type: failover\nverify_master_pubkey_sign: True\n\
                        master_alive_interval: 2\nretry_dns: 0\nmaster_tries: -1";

/// What each implementation logs when it refuses a master whose key does not verify.
const REFUSED: &[&str] = &["Failed to verify signature of public key"];

/// What each implementation logs when a master comes with another key than the one cached.
const CHANGED: &[&str] =
    &["master key has changed", "Invalid master key", "could have been subverted"];

fn sign_in(fleet: &Fleet) {
    let mut master = fleet.master("m1", "");
    let mut minion = fleet.minion("min", &[&master], "");
    master.start();
    minion.start();
    master.wait_key("minions_pre", "min");
    assert!(master.keys("minions").is_empty());
    master.accept("min");
    assert!(master.keys("minions_pre").is_empty());
    master.wait_ping("min");
    assert!(minion.process().is_running());
}

fn test_ping(fleet: &Fleet) {
    let (master, _minion) = fleet.pair("", "");
    assert_eq!(master.salt(&["*", "test.ping"]), json!({"min": true}));
    assert_eq!(master.salt(&["-L", "min,other", "test.ping"])["min"], json!(true));
    assert_eq!(master.salt(&["-E", "m.n", "test.ping"]), json!({"min": true}));
    assert_eq!(master.salt(&["-G", "kernel:Linux", "test.ping"]), json!({"min": true}));
    assert_eq!(master.salt(&["-C", "m* and G@kernel:linux", "test.ping"]), json!({"min": true}));
    assert_eq!(master.salt(&["-S", "127.0.0.1", "test.ping"]), json!({"min": true}));
}

fn cmd_run(fleet: &Fleet) {
    let (master, _minion) = fleet.pair("", "");
    let result = master.salt(&["min", "cmd.run", "echo one; echo two >&2"]);
    assert_eq!(result, json!({"min": "one\ntwo"}));
    let all = &master.salt(&["min", "cmd.run_all", "cat; exit 3", "stdin=hällo"])["min"];
    assert_eq!((&all["stdout"], &all["retcode"]), (&json!("hällo"), &json!(3)));
    let failed = master.run("salt", &["min", "cmd.run", "exit 4"]);
    assert_ne!(failed.code, 0, "a failed command must show in the exit code: {failed:?}");
    let cwd = master.salt(&["min", "cmd.run", "pwd; echo $A", "cwd=/", "env={A: b c}"]);
    assert_eq!(cwd, json!({"min": "/\nb c"}));
}

fn large_return(fleet: &Fleet) {
    // Real Salt bounds events on both sides (1 MiB by default) and shows VALUE_TRIMMED beyond it.
    let bound = "max_event_size: 20000000";
    let (master, _minion) = fleet.pair(bound, bound);
    let result = master.salt(&["min", "cmd.run", "head -c 5000000 /dev/zero | tr '\\0' x"]);
    let text = result["min"].as_str().unwrap_or_default();
    assert_eq!(text.len(), 5_000_000);
    assert!(text.bytes().all(|b| b == b'x'));
}

/// Two hundred processes of Python are minutes of work for a small machine: one such storm at a
/// time.
static STORM: Mutex<()> = Mutex::new(());

fn two_hundred_jobs(fleet: &Fleet) {
    let _alone = STORM.lock().unwrap_or_else(PoisonError::into_inner);
    // A Python minion has a process for each job, and a job gives its return up when the main
    // process, busy starting the others, has not sent it after three of these (30 s by default).
    let patient = match fleet.minion_peer {
        Peer::Saltern => "",
        _ => "return_retry_timer: 100\nreturn_retry_timer_max: 100",
    };
    let (master, _minion) = fleet.pair("", patient);
    let jids: Vec<String> = match fleet.master_peer {
        Peer::Saltern => (0..200).map(|i| publish_async(&master, i)).collect(),
        _ => publish_with_python(&master),
    };
    assert_eq!(jids.len(), 200);
    let mut open: BTreeMap<usize, String> = jids.into_iter().enumerate().collect();
    wait::within(5 * wait::LONG, "200 returns in the job cache", || {
        let done: Vec<usize> = open
            .iter()
            .filter(|(i, jid)| stored_return(&master, jid) == Some(json!(format!("job {i}"))))
            .map(|(i, _)| *i)
            .collect();
        for i in done {
            open.remove(&i);
        }
        open.is_empty().then_some(())
    });
}

fn publish_async(master: &Master, number: usize) -> String {
    let output = master.run("salt", &["--async", "min", "test.echo", &format!("job {number}")]);
    let jid = output.stdout.split_whitespace().find(|w| w.len() == 20 && w.starts_with("20"));
    jid.unwrap_or_else(|| panic!("no job id in {output:?}")).to_owned()
}

/// One Python process for all jobs: two hundred starts of the stock tool would take minutes.
fn publish_with_python(master: &Master) -> Vec<String> {
    let script = "import sys, salt.client\n\
                  c = salt.client.LocalClient(sys.argv[1])\n\
                  for i in range(200):\n    \
                      print(c.run_job('min', 'test.echo', ['job %d' % i], listen=False)['jid'])\n";
    let mut command = master.peer.program("python");
    command.args(["-c", script]).arg(master.conf().join("master"));
    let output = Output::of(command);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.lines().map(str::to_owned).collect()
}

/// What the job cache has, asked of our master by its tool and of a real one by its files, which
/// are a documented part of Salt (`local_cache`).
fn stored_return(master: &Master, jid: &str) -> Option<serde_json::Value> {
    match master.peer {
        Peer::Saltern => {
            let output = master.run("salt-run", &["--out", "json", "jobs.lookup_jid", jid]);
            output.json().get("min").cloned()
        }
        _ => {
            let jobs = master.root().join("cache/jobs");
            let found = walk(&jobs, jid)?;
            let bytes = fs::read(found.join("min/return.p")).ok()?;
            let text = String::from_utf8_lossy(&bytes);
            let start = text.find("job ")?;
            let digits: String =
                text[start + 4..].chars().take_while(char::is_ascii_digit).collect();
            Some(json!(format!("job {digits}")))
        }
    }
}

fn walk(jobs: &std::path::Path, jid: &str) -> Option<std::path::PathBuf> {
    let entries = |dir: &std::path::Path| {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>()
    };
    entries(jobs)
        .iter()
        .flat_map(|d| entries(d))
        .find(|d| fs::read_to_string(d.join("jid")).is_ok_and(|text| text == jid))
}

fn key_deletion(fleet: &Fleet) {
    let (master, _minion) = fleet.pair("", "");
    let mut other = fleet.minion("other", &[&master], "");
    let public = other.make_keys(&master);
    master.preseed("other", &public);
    other.start();
    master.wait_ping("other");
    let output = master.run("salt-key", &["-y", "-d", "min"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(master.keys("minions"), ["other"]);
    // The AES key changes: the one that stays signs in anew and answers, the deleted one is
    // back at the start, and comes back when its key is accepted once more.
    wait::until("min to find out, by the next publication, that it has to sign in anew", || {
        assert_eq!(master.salt(&["other", "test.ping"]), json!({"other": true}));
        master.keys("minions_pre").iter().any(|id| id == "min").then_some(())
    });
    assert_eq!(master.salt(&["other", "test.ping"]), json!({"other": true}));
    master.accept("min");
    master.wait_ping("min");
}

fn master_restart(fleet: &Fleet) {
    let (mut master, mut minion) = fleet.pair("", "");
    let pid = minion.process().pid();
    master.process().kill();
    master.start();
    master.wait_ping("min");
    assert!(minion.process().is_running());
    assert_eq!(minion.process().pid(), pid);
}

fn signed_failover(fleet: &Fleet) {
    let (mut first, mut second) = fleet.signed_masters();
    let mut minion = failover_minion(fleet, &first, &second);
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    first.wait_ping("min");
    first.process().kill();
    second.wait_ping("min");
    assert_eq!(second.salt(&["min", "cmd.run", "echo here"]), json!({"min": "here"}));
    first.start();
    second.process().kill();
    first.wait_ping("min");
    assert!(minion.process().is_running());
}

fn failover_minion(fleet: &Fleet, first: &Master, second: &Master) -> Minion {
    let minion = fleet.minion("min", &[first, second], FAILOVER);
    let public = minion.make_keys(first);
    first.preseed("min", &public);
    second.preseed("min", &public);
    minion
}

fn wrong_signing_key(fleet: &Fleet) {
    let (mut first, second) = fleet.signed_masters();
    let mut minion = failover_minion(fleet, &first, &second);
    let foreign = fs::read_to_string(minion.pki().join("minion.pub")).unwrap();
    fs::write(minion.pki().join("master_sign.pub"), foreign).unwrap();
    minion.start();
    wait_log(&minion, REFUSED);
    assert!(!answers(&first) && !answers(&second), "a master with a wrong signature was trusted");
    assert!(
        !minion.pki().join("minion_master.pub").exists(),
        "the key of an unverified master was stored"
    );
    // Only the key was at fault: with the right one the same minion signs in.
    let _ = minion.process().stop();
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    first.wait_ping("min");
    assert!(first.process().is_running());
}

fn changed_master_key(fleet: &Fleet) {
    let (mut master, mut minion) = fleet.pair("", "");
    master.process().kill();
    for entry in fs::read_dir(master.pki()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".pem") || name.ends_with(".pub") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    master.start();
    wait::until("the minion to refuse the new key", || {
        // A stock minion finds out by a publication that it cannot open.
        assert!(!answers(&master), "a master with another key was trusted");
        let log = minion.log();
        CHANGED.iter().any(|phrase| log.contains(phrase)).then_some(())
    });
    let _ = minion.process().stop();
    fs::remove_file(minion.pki().join("minion_master.pub")).unwrap();
    minion.start();
    master.wait_ping("min");
}

fn wait_log(minion: &Minion, any_of: &[&str]) {
    wait::until(&format!("one of {any_of:?} in the minion's log"), || {
        let log = minion.log();
        any_of.iter().any(|phrase| log.contains(phrase)).then_some(())
    });
}

fn answers(master: &Master) -> bool {
    let output = master.run("salt", &["--out", "json", "--static", "-t", "3", "min", "test.ping"]);
    serde_json::from_str::<serde_json::Value>(&output.stdout).is_ok_and(|r| r["min"] == true)
}

macro_rules! matrix {
    ($($pair:ident: $master:ident, $minion:ident;)*) => {$(
        mod $pair {
            use super::{Fleet, Peer};

            fn fleet() -> Fleet {
                Fleet::new(Peer::$master, Peer::$minion)
            }

            scenarios!(sign_in, test_ping, cmd_run, large_return, two_hundred_jobs, key_deletion,
                master_restart, signed_failover, wrong_signing_key, changed_master_key);
        }
    )*};
}

macro_rules! scenarios {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            super::$name(&fleet());
        }
    )*};
}

matrix! {
    our_master_our_minion: Saltern, Saltern;
    our_master_minion_3006: Saltern, Salt3006;
    our_master_minion_3008: Saltern, Salt3008;
    master_3006_our_minion: Salt3006, Saltern;
    master_3008_our_minion: Salt3008, Saltern;
}
