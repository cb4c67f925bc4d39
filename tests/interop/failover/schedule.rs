//! The minion's own schedule: it runs beside any connection, and a switch neither stops it nor
//! doubles it (R8).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use saltern_interop::{Fleet, Master, Minion, Peer, wait};
use serde_json::Value;

/// Appends a line to a file at each run.
fn beat(function: &str, file: &Path) -> String {
    format!("{{function: {function}, args: ['echo ran >> {}'], seconds: 1}}", file.display())
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// Jobs of this function that a master has kept: job id to how many minions returned.
fn kept(master: &Master, function: &str) -> BTreeMap<String, usize> {
    let jobs = master.run("salt-run", &["jobs.list_jobs", "--out", "json"]).json();
    let mine = jobs.as_object().unwrap().iter().filter(|(_, job)| job["Function"] == function);
    mine.map(|(jid, _)| {
        let found = master.run("salt-run", &["jobs.lookup_jid", jid, "--out", "json"]).json();
        (jid.clone(), found.as_object().map_or(0, serde_json::Map::len))
    })
    .collect()
}

fn failover_pair(peer: Peer) -> (Fleet, Master, Master, Minion) {
    let fleet = Fleet::new(peer, Peer::Saltern);
    let (first, second) = fleet.signed_masters();
    let options = "master_type: failover\nverify_master_pubkey_sign: True\nretry_dns: 0\n\
                   master_alive_interval: 1";
    let minion = fleet.minion("min", &[&first, &second], options);
    let public = minion.make_keys(&first);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    (fleet, first, second, minion)
}

#[test]
fn r8_a_switch_neither_stops_nor_doubles_scheduled_jobs() {
    let (fleet, mut first, second, mut minion) = failover_pair(Peer::Saltern);
    let own = fleet.root().join("own");
    let pillar = fleet.root().join("pillar");
    for master in [&first, &second] {
        let dir = master.root().join("srv/pillar");
        fs::write(dir.join("top.sls"), "base: {'*': [jobs]}\n").unwrap();
        let text = format!("schedule: {{from_pillar: {}}}\n", beat("cmd.shell", &pillar));
        fs::write(dir.join("jobs.sls"), text).unwrap();
    }
    let text = format!("schedule: {{from_config: {}}}\n", beat("cmd.run", &own));
    fs::write(minion.conf().join("minion.d/schedule.conf"), text).unwrap();
    minion.start();
    first.wait_ping("min");
    wait::until("both jobs ran", || (lines(&own) > 1 && lines(&pillar) > 1).then_some(()));
    first.process().kill();
    second.wait_ping("min");
    let seen = lines(&pillar);
    wait::until("both go on", || (lines(&pillar) > seen + 2 && lines(&own) > seen).then_some(()));
    // Each run has one job id, and each job id one return.
    wait::until("their returns on the second master", || {
        let jobs = kept(&second, "cmd.shell");
        (jobs.len() > 1 && jobs.values().all(|returns| *returns == 1)).then_some(())
    });
    let disabled = second.salt(&["min", "schedule.disable", "persist=False"]);
    assert_eq!(disabled["min"]["result"], true, "{disabled}");
    assert!(
        !minion.conf().join("minion.d/_schedule.conf").exists(),
        "jobs of the pillar are no business of the configuration"
    );
    // Nothing starts any more: what both masters know is all there was. The last run may have begun
    // before that and write its line only now.
    first.start();
    wait::until("every run has returned", || {
        let known = kept(&first, "cmd.run").len() + kept(&second, "cmd.run").len();
        let ran = lines(&own);
        assert!(known <= ran, "{known} returns of {ran} runs");
        (known == ran).then_some(())
    });
}

#[test]
fn jobs_added_at_run_time_survive_a_restart() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, mut minion) = fleet.pair("", "");
    let file = fleet.root().join("ran");
    let job = format!("job_args=['touch {}']", file.display());
    let added =
        master.salt(&["min", "schedule.add", "once", "function=cmd.run", &job, "seconds=1"]);
    assert_eq!(added["min"]["result"], true, "{added}");
    wait::until("the job ran", || file.exists().then_some(()));
    let listed = master.salt(&["min", "schedule.list", "return_yaml=False"]);
    assert_eq!(listed["min"]["once"]["seconds"], 1, "{listed}");
    let again = master.salt(&["min", "schedule.add", "once", "function=test.ping", "seconds=1"]);
    assert_eq!(again["min"]["result"], false, "{again}");
    minion.process().stop();
    fs::remove_file(&file).unwrap();
    minion.start();
    wait::until("the job ran after the restart", || file.exists().then_some(()));
    master.wait_ping("min");
    let deleted = master.salt(&["min", "schedule.delete", "once"]);
    assert_eq!(deleted["min"]["changes"]["once"], "removed", "{deleted}");
    let called = minion.call(&["schedule.list", "return_yaml=False", "--out", "json"]).json();
    assert_eq!(called["local"]["once"], Value::Null, "{called}");
}

#[test]
fn a_real_master_gets_the_returns_of_scheduled_jobs() {
    let fleet = Fleet::new(Peer::Salt3006, Peer::Saltern);
    let (master, minion) = fleet.pair("", "schedule: {beat: {function: test.ping, seconds: 1}}");
    drop(minion.log());
    wait::until("a scheduled job in its cache", || {
        let dir = master.root().join("cache/jobs");
        let found = find(&dir, "return.p");
        found.then_some(())
    });
}

fn find(dir: &Path, name: &str) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        entry.file_name() == name || (entry.path().is_dir() && find(&entry.path(), name))
    })
}
