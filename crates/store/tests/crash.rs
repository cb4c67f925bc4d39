//! SIGKILL at any moment: every return that was acknowledged is there afterwards, no key is half
//! written. The test starts itself as the process to be killed.

#![allow(clippy::unwrap_used)] // the helpers of a test are tests, too

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use saltern_base::{Jid, MinionId};
use saltern_store::jobs::{JobSettings, JobStore, NewReturn};
use saltern_store::pki;
use saltern_value::{Map, Value};

const DIR: &str = "SALTERN_CRASH_DIR";

fn start(child: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("saltern-crash-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn jid(n: u64) -> Jid {
    Jid::parse(&format!("{:020}", n / 10)).unwrap()
}

/// Not a test of its own: keeps returns until it is killed, and prints each acknowledged number.
#[test]
fn child_that_keeps_returns() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = JobStore::open(Path::new(&dir), JobSettings::default()).unwrap();
    for n in 0.. {
        let done = move |result: Result<_, _>| {
            assert!(result.is_ok());
            writeln!(std::io::stdout(), "kept {n}").unwrap();
        };
        let ret = || NewReturn {
            jid: jid(n),
            minion: MinionId::parse(&format!("m{n}")).unwrap(),
            value: Value::from("x".repeat(300)),
            retcode: Some(0),
            success: Some(true),
            out: None,
            load: Map::new(),
            origin: String::new(),
        };
        // When the queue is full, wait for this one: the queue is then empty before it.
        if store.enqueue_return(ret(), done).is_err() {
            store.save_return(ret()).unwrap();
        }
    }
}

#[test]
fn acknowledged_returns_outlive_sigkill() {
    let dir = scratch("returns");
    let mut kept = Vec::new();
    for round in 1..=3 {
        let mut child = start("child_that_keeps_returns", &dir);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut killed = false;
        for line in lines {
            let line = line.unwrap();
            if let Some(n) = line.strip_prefix("kept ").and_then(|n| n.parse::<u64>().ok()) {
                kept.push(n);
            }
            if !killed && kept.len() >= 700 * round {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
    }
    let store = JobStore::open(&dir, JobSettings::default()).unwrap();
    for n in kept {
        let found = store.return_of(&jid(n), &format!("m{n}")).unwrap();
        assert!(found.is_some(), "return {n} was acknowledged");
    }
    let names = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name());
    assert!(names.into_iter().all(|n| !n.to_string_lossy().contains("damaged")));
    drop(store);
    fs::remove_dir_all(dir).unwrap();
}

/// Not a test of its own: makes key pairs until it is killed.
#[test]
fn child_that_makes_keys() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    for n in 0.. {
        pki::open_master_sign(Path::new(&dir), &format!("k{n}"), 2048, None).unwrap();
        writeln!(std::io::stdout(), "made {n}").unwrap();
    }
}

#[test]
fn a_key_is_whole_or_absent_after_sigkill() {
    let dir = scratch("keys");
    let mut child = start("child_that_makes_keys", &dir);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let made = lines.by_ref().filter(|l| l.as_ref().unwrap().starts_with("made ")).nth(2);
    assert!(made.is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    for entry in fs::read_dir(&dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(name) = name.strip_suffix(".pem") {
            // Also makes the public key that the kill prevented.
            let pair = pki::open_master_sign(&dir, name, 2048, None).unwrap();
            assert!(!pair.created);
        }
    }
    fs::remove_dir_all(dir).unwrap();
}
