//! Returns are not lost (R3): masters and minions die at the worst moments, and each return is on
//! a live master once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use saltern_interop::{Fleet, Master, Minion, Peer, Program, wait};
use serde_json::Value;

const OPTIONS: &str = "master_type: failover\nverify_master_pubkey_sign: True\nretry_dns: 0\n\
                       master_alive_interval: 1";

struct Bench {
    fleet: Fleet,
    first: Master,
    second: Master,
    minion: Minion,
}

fn bench(peer: Peer, options: &str) -> Bench {
    let fleet = Fleet::new(peer, Peer::Saltern);
    let (first, second) = fleet.signed_masters();
    let minion = fleet.minion("min", &[&first, &second], options);
    let public = minion.make_keys(&first);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    Bench { fleet, first, second, minion }
}

fn started(peer: Peer, options: &str) -> Bench {
    let mut bench = bench(peer, &format!("{OPTIONS}\n{options}"));
    bench.minion.start();
    bench.first.wait_ping("min");
    bench
}

/// Jobs wait behind it without using any time, until it is opened.
struct Gate {
    path: PathBuf,
    file: Option<File>,
}

impl Gate {
    fn closed(dir: &Path) -> Self {
        let path = dir.join("gate");
        let file = File::create(&path).unwrap();
        file.lock().unwrap();
        Gate { path, file: Some(file) }
    }

    fn open(&mut self) {
        self.file = None;
    }

    /// What a job runs: it notes that it began, waits, and prints its name.
    fn job(&self, name: &str) -> String {
        let gate = self.path.display();
        format!("echo {name} >> {gate}.began; flock -s {gate} echo done {name}")
    }

    fn began(&self) -> usize {
        let began = PathBuf::from(format!("{}.began", self.path.display()));
        fs::read_to_string(began).unwrap_or_default().lines().count()
    }

    /// Has the minion begin so many jobs; their ids.
    fn begin(&self, master: &Master, count: usize) -> Vec<String> {
        let jids = (0..count)
            .map(|n| {
                let command = self.job(&format!("j{n}"));
                let out = master.run("salt", &["--async", "min", "cmd.run", &command]);
                let digits =
                    |word: &&str| word.len() == 20 && word.bytes().all(|b| b.is_ascii_digit());
                let jid = out.stdout.split_whitespace().find(digits);
                jid.unwrap_or_else(|| panic!("no job id in {out:?}")).to_owned()
            })
            .collect();
        wait::until("all jobs run", || (self.began() == count).then_some(()));
        jids
    }
}

fn lookup(master: &Master, jid: &str) -> Value {
    let output = master.run("salt-run", &["jobs.lookup_jid", jid, "--out", "json"]);
    serde_json::from_str(&output.stdout).unwrap_or_default()
}

fn wait_for(master: &Master, jid: &str) -> Value {
    wait::until(&format!("the return of {jid} on {}", master.address), || {
        lookup(master, jid).get("min").filter(|v| !v.is_null()).cloned()
    })
}

fn details(master: &Master, jid: &str) -> Value {
    let output = master.run("salt-run", &["jobs.list_job", jid, "--out", "json"]);
    output.json()["Result"]["min"].clone()
}

fn spool(minion: &Minion) -> PathBuf {
    minion.root().join("cache/spool")
}

fn spooled(minion: &Minion) -> u64 {
    let files = fs::read_dir(spool(minion)).into_iter().flatten().flatten();
    files.filter_map(|e| e.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}

fn wait_spool_empty(minion: &Minion) {
    wait::until("the spool is empty", || (spooled(minion) == 0).then_some(()));
}

fn survivor_gets_the_return(peer: Peer) {
    let Bench { fleet, mut first, second, minion } = started(peer, "");
    let mut gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 1);
    first.process().kill();
    second.wait_ping("min");
    gate.open();
    if peer == Peer::Saltern {
        assert_eq!(wait_for(&second, &jids[0]), "done j0");
    } else {
        // Salt's own lookup fails for a job it has not published itself.
        let dir = second.root().join("cache/jobs");
        wait::until("the return in its job cache", || in_cache(&dir, &jids[0]).then_some(()));
    }
    wait_spool_empty(&minion);
    assert_eq!(gate.began(), 1, "it ran once");
    if peer == Peer::Saltern {
        let details = details(&second, &jids[0]);
        assert_eq!(details["origin"], first.address.to_string(), "{details}");
        first.start();
        assert_eq!(lookup(&first, &jids[0]), serde_json::json!({}), "only the survivor has it");
    }
}

/// Whether Salt's job cache has the minion's return of that job.
fn in_cache(dir: &Path, jid: &str) -> bool {
    let folders = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut jobs = folders(dir).flat_map(|dir| folders(&dir).collect::<Vec<_>>());
    jobs.any(|job| {
        let of = fs::read_to_string(job.join("jid")).unwrap_or_default();
        of == jid && job.join("min/return.p").exists()
    })
}

#[test]
fn r3_the_survivor_gets_the_return_of_a_job_it_never_published() {
    survivor_gets_the_return(Peer::Saltern);
}

#[test]
fn r3_the_survivor_gets_the_return_salt_3006() {
    survivor_gets_the_return(Peer::Salt3006);
}

#[test]
fn r3_the_survivor_gets_the_return_salt_3008() {
    survivor_gets_the_return(Peer::Salt3008);
}

#[test]
fn r3_returns_outlive_all_masters_and_the_minion() {
    let Bench { fleet, mut first, mut second, mut minion } = started(Peer::Saltern, "");
    let mut gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 3);
    first.process().kill();
    second.process().kill();
    gate.open();
    wait::until("three returns are on disk", || {
        (fs::read_dir(spool(&minion)).is_ok() && files_contain(&spool(&minion), "done j", 3))
            .then_some(())
    });
    minion.process().kill();
    minion.start();
    wait::until("it takes them over", || {
        minion.log().contains("returns and events from before wait").then_some(())
    });
    minion.process().stop();
    minion.start();
    second.start();
    for (n, jid) in jids.iter().enumerate() {
        assert_eq!(wait_for(&second, jid), format!("done j{n}"));
    }
    wait_spool_empty(&minion);
    assert_eq!(gate.began(), 3, "no job ran twice");
}

/// Whether the files of the spool hold a text so often.
fn files_contain(dir: &Path, text: &str, times: usize) -> bool {
    let mut found = 0;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        // A return holds its text once; the command that made it stands in the arguments as
        // `echo done`, which begins otherwise.
        let text = String::from_utf8_lossy(&bytes).replace("echo done", "").matches(text).count();
        found += text;
    }
    found >= times
}

#[test]
fn a_job_that_dies_with_its_minion_is_reported_lost_once() {
    let Bench { fleet, first, second: _second, mut minion } = started(Peer::Saltern, "");
    let gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 1);
    minion.process().kill();
    minion.start();
    let text = wait_for(&first, &jids[0]).to_string();
    assert!(text.contains("lost: the minion ended"), "{text}");
    let details = details(&first, &jids[0]);
    assert_eq!((&details["retcode"], &details["success"]), (&1.into(), &false.into()), "{details}");
    wait_spool_empty(&minion);
    let told = minion.log().matches("is lost: the minion ended").count();
    minion.process().kill();
    minion.start();
    first.wait_ping("min");
    assert_eq!(minion.log().matches("is lost: the minion ended").count(), told, "once");
    assert_eq!(gate.began(), 1, "it did not run again");
}

#[test]
fn a_job_that_a_stopping_minion_ends_is_reported_lost() {
    let Bench { fleet, first, second: _second, mut minion } = started(Peer::Saltern, "");
    let gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 1);
    minion.process().stop();
    minion.start();
    // Either what the function made of its end, or that it was lost: never nothing.
    wait_for(&first, &jids[0]);
}

#[test]
fn a_burst_of_returns_survives_its_master() {
    let Bench { fleet, mut first, second, minion } = started(Peer::Saltern, "");
    let mut gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 200);
    gate.open();
    wait::until("some have returned", || {
        (lookup(&first, &jids[0]) != serde_json::json!({})).then_some(())
    });
    first.process().kill();
    second.wait_ping("min");
    wait_spool_empty(&minion);
    first.start();
    for (n, jid) in jids.iter().enumerate() {
        let on = [&first, &second].map(|master| lookup(master, jid)["min"].clone());
        let kept: Vec<_> = on.iter().filter(|v| !v.is_null()).collect();
        // One whose answer died with the first master is on both; none is lost.
        assert!(
            !kept.is_empty() && kept.iter().all(|v| **v == format!("done j{n}")),
            "{jid}: {on:?}"
        );
    }
    assert_eq!(gate.began(), 200);
}

#[test]
fn a_frozen_hot_master_does_not_hold_its_returns() {
    let hot = "verify_master_pubkey_sign: True\nmaster_alive_interval: 1\n\
               return_retry_timer: 1\nreturn_retry_timer_max: 2";
    let Bench { fleet, mut first, second, mut minion } = bench(Peer::Saltern, hot);
    minion.start();
    first.wait_ping("min");
    second.wait_ping("min");
    let mut gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 1);
    first.process().signal("STOP");
    gate.open();
    assert_eq!(wait_for(&second, &jids[0]), "done j0");
    first.process().signal("CONT");
}

#[test]
fn what_has_no_room_is_dropped_loudly_the_oldest_first() {
    let options = "failover_spool_max_items: 2";
    let Bench { fleet, mut first, mut second, mut minion } = started(Peer::Saltern, options);
    let mut gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 5);
    first.process().kill();
    second.process().kill();
    gate.open();
    let dropped = |minion: &Minion| {
        let log = minion.log();
        let line =
            |line: &&str| line.contains("The return of job") && line.contains("is dropped: ");
        log.lines().filter(line).count()
    };
    wait::until("three are dropped", || (dropped(&minion) >= 3).then_some(()));
    minion.process().signal("STOP");
    second.start();
    let mut listen = second.tool("salt-run");
    listen.args(["state.event", "*", "--out", "json"]);
    let listener = Program::start("state.event", listen, &fleet.root().join("events"));
    wait::until("somebody listens", || {
        second.run("salt-run", &["event.send", "are/you/there"]);
        listener.printed().contains("are/you/there").then_some(())
    });
    minion.process().signal("CONT");
    wait::until("the event", || {
        listener.printed().contains("salt/minion/min/spool/dropped").then_some(())
    });
    wait_spool_empty(&minion);
    let kept = jids.iter().filter(|jid| lookup(&second, jid) != serde_json::json!({})).count();
    // An event of the minion's own may have needed room as well.
    assert_eq!(kept + dropped(&minion), 5);
    // Both ends count them.
    wait::until("manage.health to tell what the events told", || {
        let printed = listener.printed();
        let events = printed.lines().filter_map(|line| {
            let (_, event) = line.split_once("salt/minion/min/spool/dropped\t")?;
            serde_json::from_str::<serde_json::Value>(event).ok()?["data"]["count"].as_u64()
        });
        let told = second.run("salt-run", &["manage.health", "--out", "json"]).json();
        let value = told["lines"]["returns_dropped_by_minions"]["value"].as_u64()?;
        (value > 0 && value == events.sum::<u64>()).then_some(())
    });
    let shown = minion.call(&["--out", "json", "failover.status"]).json();
    assert!(shown["local"]["lost"]["returns"].as_u64().unwrap() >= 3, "{shown}");
}

#[test]
fn what_was_dropped_is_told_to_the_master_after_the_next() {
    let options = "failover_spool_max_items: 2";
    let Bench { fleet, mut first, mut second, mut minion } = started(Peer::Saltern, options);
    let mut gate = Gate::closed(fleet.root());
    gate.begin(&first, 5);
    first.process().kill();
    second.process().kill();
    gate.open();
    let owed = || {
        let text = fs::read_to_string(spool(&minion).join("dropped.json")).unwrap_or_default();
        let owed: Value = serde_json::from_str(&text).unwrap_or_default();
        owed.as_array().map_or(0, |all| all.iter().filter_map(|b| b["count"].as_u64()).sum())
    };
    let least: u64 = wait::until("three are owed on disk", || Some(owed()).filter(|n| *n >= 3));
    minion.process().kill();
    minion.start();
    second.start();
    wait::until("the master to count them", || {
        let told = second.run("salt-run", &["manage.health", "--out", "json"]).json();
        let value = told["lines"]["returns_dropped_by_minions"]["value"].as_u64()?;
        (value >= least).then_some(())
    });
    wait::until("nothing to be owed", || {
        (!spool(&minion).join("dropped.json").exists()).then_some(())
    });
}

#[test]
fn damage_on_disk_costs_what_is_damaged_only() {
    let Bench { fleet, mut first, mut second, mut minion } = started(Peer::Saltern, "");
    let mut gate = Gate::closed(fleet.root());
    let jids = gate.begin(&first, 3);
    first.process().kill();
    second.process().kill();
    gate.open();
    wait::until("three returns are on disk", || {
        files_contain(&spool(&minion), "done j", 3).then_some(())
    });
    minion.process().kill();
    let files = fs::read_dir(spool(&minion)).unwrap().flatten().map(|e| e.path());
    let file = files.max().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    // The end of a record that was being written when the power failed.
    bytes.truncate(bytes.len() - 5);
    fs::write(&file, bytes).unwrap();
    minion.start();
    second.start();
    wait_spool_empty(&minion);
    let mut texts: Vec<String> =
        jids.iter().map(|jid| wait_for(&second, jid).to_string()).collect();
    texts.sort();
    assert_eq!(texts.iter().filter(|text| text.contains("done j")).count(), 2, "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("lost: the minion ended")), "{texts:?}");
    assert!(minion.log().contains("damaged"));
    assert!(spool(&minion).join("damaged").is_dir());
}

#[test]
fn the_return_of_a_call_waits_for_a_master_with_the_daemon() {
    let options = "return_retry_timer: 1\nreturn_retry_timer_max: 2";
    let Bench { fleet, mut first, mut second, minion } = started(Peer::Saltern, options);
    let gate = fleet.root().join("call");
    let go = format!(
        "echo >> {0}; while test ! -e {0}.go; do sleep 0.1; done; echo called",
        gate.display()
    );
    let called = std::thread::scope(|scope| {
        let call = scope.spawn(|| minion.call(&["cmd.run", &go, "--out", "json"]));
        wait::until("the call runs", || gate.exists().then_some(()));
        first.process().kill();
        second.process().kill();
        fs::write(gate.with_extension("go"), "").unwrap();
        call.join().unwrap()
    });
    assert_eq!(called.code, 0, "{called:?}");
    assert_eq!(called.json()["local"], "called");
    second.start();
    wait_spool_empty(&minion);
    let jobs = second.run("salt-run", &["jobs.list_jobs", "--out", "json"]).json();
    let calls = jobs.as_object().unwrap().values().filter(|job| job["Function"] == "cmd.run");
    assert_eq!(calls.count(), 1, "{jobs}");
}
