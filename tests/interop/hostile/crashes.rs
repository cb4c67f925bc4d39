//! SIGKILL at any moment: every program starts again over the same directories, with whole keys,
//! and knows what it had confirmed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use saltern_interop::{Fleet, Master, Peer, Program};
use serde_json::Value;

/// Moments after the start at which it is killed, milliseconds. Spread over the making of the
/// first keys, the sign-in and the first job of slow and fast machines.
const MOMENTS: [u64; 22] =
    [0, 2, 4, 6, 8, 11, 15, 20, 30, 45, 60, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800];

/// Starts a program and kills it at each moment; after each time, keys that were there are still
/// the same, and what is there is whole.
fn killed_at_each_moment(command: impl Fn() -> Command, root: &Path) {
    let mut known: BTreeMap<PathBuf, String> = BTreeMap::new();
    // On a very slow machine no key is made until the last of them.
    let later = (1..8).map(|n| 800 << n);
    for (number, moment) in MOMENTS.into_iter().chain(later).enumerate() {
        if number >= MOMENTS.len() && !known.is_empty() {
            break;
        }
        let mut program = Program::start("the program", command(), &root.join("out"));
        sleep(Duration::from_millis(moment));
        program.kill();
        for path in super::files(&root.join("pki")) {
            let name = path.file_name().unwrap().to_string_lossy();
            if name.ends_with(".tmp") {
                continue; // left over from a write that did not come to its end
            }
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("-----BEGIN "), "{moment} ms: {} is {text:?}", path.display());
            assert!(text.trim_end().ends_with(" KEY-----"), "{moment} ms: {}", path.display());
            let before = known.entry(path.clone()).or_insert_with(|| text.clone());
            assert_eq!(*before, text, "{moment} ms: {}", path.display());
        }
    }
    assert!(!known.is_empty(), "it never came to make a key");
}

fn has_only_min(master: &Master) {
    assert_eq!(master.keys("minions"), ["min"]);
    for state in ["minions_pre", "minions_denied", "minions_rejected"] {
        assert!(master.keys(state).is_empty(), "{state}");
    }
}

#[test]
fn a_master_killed_at_any_moment_of_its_start() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "auto_accept: True\nmaster_sign_pubkey: True");
    killed_at_each_moment(|| master.tool("salt-master"), master.root());
    master.start();
    let mut minion = fleet.minion("min", &[&master], "verify_master_pubkey_sign: True");
    fs::copy(master.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    master.wait_ping("min");
    has_only_min(&master);
}

#[test]
fn a_minion_killed_at_any_moment_of_its_start() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "auto_accept: True");
    master.start();
    let mut minion = fleet.minion("min", &[&master], "");
    let conf = minion.conf();
    let command = || {
        let mut command = Peer::Saltern.program("salt-minion");
        command.arg("-c").arg(&conf);
        command
    };
    killed_at_each_moment(command, minion.root());
    minion.start();
    master.wait_ping("min");
    has_only_min(&master);
    assert!(minion.call(&["test.ping", "--out", "json"]).stdout.contains("true"));
}

/// Publishes without waiting; gives the job id.
fn publish(master: &Master, text: &str) -> Option<String> {
    let output = master.run("salt", &["--async", "min", "test.echo", text]);
    let digits = |word: &str| word.len() == 20 && word.bytes().all(|b| b.is_ascii_digit());
    output.stdout.split_whitespace().find(|word| digits(word)).map(str::to_owned)
}

fn looked_up(master: &Master, jid: &str) -> Value {
    let output = master.run("salt-run", &["jobs.lookup_jid", jid, "--out", "json"]);
    serde_json::from_str::<Value>(&output.stdout).map_or(Value::Null, |all| all["min"].clone())
}

#[test]
fn returns_once_kept_outlive_a_master_killed_among_jobs() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut master, mut minion) = fleet.pair("", "");
    let mut kept = BTreeMap::new();
    for round in 0..4_u64 {
        let text = format!("round {round}");
        let jid = publish(&master, &text).unwrap();
        saltern_interop::wait::until("a return", || {
            (looked_up(&master, &jid) == text.as_str()).then_some(())
        });
        kept.insert(jid, text);
        // Returns are on their way in when it dies; so is the session of a minion.
        for number in 0..6 {
            publish(&master, &format!("{round}.{number}"));
        }
        sleep(Duration::from_millis(round * 7));
        master.process().kill();
        if round % 2 == 1 {
            minion.process().kill();
            minion.start();
        }
        master.start();
        master.wait_ping("min");
        for (jid, text) in &kept {
            assert_eq!(looked_up(&master, jid), text.as_str(), "{jid} after round {round}");
        }
    }
    has_only_min(&master);
}
