//! Requirements of the failover design that no other file of this suite is about.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use saltern_interop::{Address, Fleet, Master, Minion, Peer, wait};
use serde_json::json;

const FAILOVER: &str = "master_type: failover\nverify_master_pubkey_sign: True\nretry_dns: 0";

/// Points a minion at these masters by text.
fn point(minion: &Minion, list: &str) {
    fs::write(minion.conf().join("minion.d/masters.conf"), format!("master: {list}\n")).unwrap();
}

fn introduce(minion: &Minion, masters: &[&Master]) {
    let public = minion.make_keys(masters[0]);
    for master in masters {
        master.preseed(&minion.id, &public);
    }
    let sign = masters[0].pki().join("master_sign.pub");
    if sign.exists() {
        fs::copy(sign, minion.pki().join("master_sign.pub")).unwrap();
    }
}

/// A listener that takes connections and ends each after so many bytes: a master that crashes at
/// some point of a sign-in. The counter says how many came.
fn crashing(address: Address, after: usize) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind(address.port(4506)).unwrap();
    let seen = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            seen.fetch_add(1, Ordering::Relaxed);
            let mut bytes = Vec::new();
            let _ = stream.take(after as u64).read_to_end(&mut bytes);
        }
    });
    count
}

#[test]
fn r1_masters_that_crash_at_any_point_of_a_sign_in_do_not_end_the_minion() {
    // Before the greeting, within it, after it, within the request.
    for after in [0, 10, 64, 90, 300] {
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let crash = Address::fresh();
        let tries = crashing(crash, after);
        let mut master = fleet.master("m1", "");
        let mut minion = fleet.minion("min", &[&master], "master_type: failover");
        point(&minion, &format!("[{crash}, {}]", master.address));
        introduce(&minion, &[&master]);
        minion.start();
        let pid = minion.process().pid();
        wait::until("two tries at the crashing master", || {
            (tries.load(Ordering::Relaxed) >= 2).then_some(())
        });
        assert!(minion.process().is_running());
        master.start();
        master.wait_ping("min");
        assert_eq!(minion.process().pid(), pid);
    }
}

#[test]
fn r1_a_lost_hot_master_leaves_the_other_alone_and_is_taken_again() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    let extra = "verify_master_pubkey_sign: True\nmaster_alive_interval: 2";
    let mut minion = fleet.minion("min", &[&first, &second], extra);
    introduce(&minion, &[&first, &second]);
    minion.start();
    let pid = minion.process().pid();
    first.wait_ping("min");
    second.wait_ping("min");
    first.process().kill();
    for _ in 0..20 {
        assert_eq!(second.salt(&["min", "test.ping"]), json!({"min": true}));
    }
    first.start();
    first.wait_ping("min");
    assert_eq!(second.salt(&["min", "test.ping"]), json!({"min": true}));
    assert_eq!(minion.process().pid(), pid);
}

#[test]
fn r4_whatever_the_first_master_has_against_us_the_second_takes_us() {
    for case in ["pending", "rejected", "full", "wrong signature"] {
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let extra = match case {
            "full" => "master_sign_pubkey: True\nmax_minions: 1",
            _ => "master_sign_pubkey: True",
        };
        let mut first = fleet.master("m1", extra);
        first.start();
        let mut second = fleet.master("m2", "master_sign_pubkey: True");
        if case != "wrong signature" {
            fs::create_dir_all(second.pki()).unwrap();
            for file in ["master_sign.pem", "master_sign.pub"] {
                fs::copy(first.pki().join(file), second.pki().join(file)).unwrap();
            }
        }
        second.start();
        let mut minion = fleet.minion("min", &[&first, &second], FAILOVER);
        introduce(&minion, &[&second]);
        let public = minion.pki().join("minion.pub");
        match case {
            "rejected" => {
                let dir = first.pki().join("minions_rejected");
                fs::create_dir_all(&dir).unwrap();
                fs::copy(&public, dir.join("min")).unwrap();
            }
            "full" => first.preseed("other", &public),
            "wrong signature" => first.preseed("min", &public),
            _ => {}
        }
        minion.start();
        second.wait_ping("min");
        assert!(minion.process().is_running(), "{case}");
    }
}

#[test]
fn r5_names_that_cannot_be_resolved_do_not_stop_the_others() {
    for order in
        ["[bad.invalid, worse.invalid, {}]", "[{}, bad.invalid]", "[bad.invalid, {}, no.invalid]"]
    {
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let mut master = fleet.master("m1", "");
        master.start();
        // Even with the option that makes real Salt wait for each name.
        let mut minion = fleet.minion("min", &[], "master_type: failover\nretry_dns: 300");
        point(&minion, &order.replace("{}", &master.address.to_string()));
        introduce(&minion, &[&master]);
        minion.start();
        master.wait_ping("min");
        // And the same names for masters that are all used at a time.
        let mut hot = fleet.minion("hot", &[], "retry_dns: 300");
        point(&hot, &order.replace("{}", &master.address.to_string()));
        introduce(&hot, &[&master]);
        hot.start();
        master.wait_ping("hot");
    }
}

#[test]
fn r6_a_master_that_failed_is_not_the_first_to_be_tried_again() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    let extra = format!("{FAILOVER}\nrandom_master: False\nfailover_standby: False");
    let mut minion = fleet.minion("min", &[&first, &second], &extra);
    introduce(&minion, &[&first, &second]);
    minion.start();
    first.wait_ping("min");
    // Up again at once, so that it would take the minion if it were asked first.
    first.process().kill();
    first.start();
    second.wait_ping("min");
}

#[test]
fn r6_addresses_at_which_nobody_listens_cost_nothing_worth_mention() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    master.start();
    let mut list: Vec<String> = (0..9).map(|_| Address::fresh().to_string()).collect();
    list.push(master.address.to_string());
    let mut minion = fleet.minion("min", &[], "master_type: failover");
    point(&minion, &format!("[{}]", list.join(", ")));
    introduce(&minion, &[&master]);
    minion.start();
    master.wait_ping("min");
}

/// Open files of a process.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn r14_thousands_of_failed_connects_leave_nothing_behind() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    let list: Vec<_> = (0..100).map(|_| Address::fresh()).collect();
    let tries: Vec<_> = list.iter().map(|address| crashing(*address, 0)).collect();
    let mut minion = fleet.minion("min", &[], "master_type: failover");
    let masters: Vec<_> = list.iter().map(|a| a.to_string()).collect();
    point(&minion, &format!("[{}, {}]", masters.join(", "), master.address));
    introduce(&minion, &[&master]);
    minion.start();
    let pid = minion.process().pid();
    let failed = || tries.iter().map(|t| t.load(Ordering::Relaxed)).sum::<usize>();
    wait::until("the first failures", || (failed() > 100).then_some(()));
    let before = descriptors(pid);
    wait::until("many more failures", || (failed() > 700).then_some(()));
    // Some tries may be open just now.
    wait::until("as few open files as before", || (descriptors(pid) <= before + 20).then_some(()));
    master.start();
    master.wait_ping("min");
    assert_eq!(minion.process().pid(), pid);
}

#[test]
fn r15_a_minion_that_waits_for_whatever_ends_when_it_is_told_to() {
    // Takes connections and says nothing; nobody there; a name; a key that waits for acceptance.
    let silent = Address::fresh();
    let _held = TcpListener::bind(silent.port(4506)).unwrap();
    let refused = Address::fresh();
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    master.start();
    let cases = [
        ("silent", silent.to_string(), "Connecting|Waiting"),
        ("refused", refused.to_string(), "refused"),
        ("name", "nobody.invalid".to_owned(), "nobody.invalid"),
        ("pending", master.address.to_string(), "Waiting"),
    ];
    for (id, address, sign) in cases {
        let mut minion = fleet.minion(id, &[], "");
        point(&minion, &address);
        minion.start();
        wait::until(&format!("{id} to wait"), || {
            let log = minion.log();
            sign.split('|').any(|sign| log.contains(sign)).then_some(())
        });
        let (status, took) = minion.process().stop();
        assert!(status.success(), "{id}: {status}");
        eprintln!("{id}: ended {took:?} after SIGTERM");
    }
    // At work, with a job that lasts.
    let mut minion = fleet.minion("busy", &[&master], "");
    introduce(&minion, &[&master]);
    minion.start();
    master.wait_ping("busy");
    let mark = fleet.root().join("mark");
    let job = format!("touch {}; sleep 1000", mark.display());
    master.run("salt", &["--async", "busy", "cmd.run", &job]);
    wait::until("the job", || mark.exists().then_some(()));
    let (status, took) = minion.process().stop();
    assert!(status.success(), "busy: {status}");
    eprintln!("busy: ended {took:?} after SIGTERM");
}

#[test]
fn r15_a_master_with_minions_and_jobs_ends_when_it_is_told_to() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut master, _minion) = fleet.pair("", "");
    master.run("salt", &["--async", "min", "cmd.run", "sleep 20"]);
    let (status, took) = master.process().stop();
    assert!(status.success(), "{status}");
    eprintln!("ended {took:?} after SIGTERM");
}

#[test]
fn r16_the_grain_and_the_events_name_the_master_in_use() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    let mut minion = fleet.minion("min", &[&first, &second], FAILOVER);
    introduce(&minion, &[&first, &second]);
    minion.start();
    first.wait_ping("min");
    let grain = |master: &Master| master.salt(&["min", "grains.get", "master"])["min"].clone();
    assert_eq!(grain(&first), json!(first.address.to_string()));
    first.process().kill();
    second.wait_ping("min");
    assert_eq!(grain(&second), json!(second.address.to_string()));
    let status = minion.call(&["--local", "failover.status", "--out", "json"]);
    let shown = status.json()["local"].to_string();
    assert!(shown.contains(&second.address.to_string()), "{shown}");
    assert!(shown.contains(&first.address.to_string()), "{shown}");
}
