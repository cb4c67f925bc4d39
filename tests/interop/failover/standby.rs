//! Warm standby: the minion has signed in at its next master long before it needs it, and what is
//! not ready is not gone to.

use std::fs;

use saltern_interop::{Fleet, Master, Minion, Peer, wait};

const FAILOVER: &str = "master_type: failover\nverify_master_pubkey_sign: True";

/// A started minion of ours with the keys laid out on those masters.
fn minion(fleet: &Fleet, masters: &[&Master], accepted: &[&Master], extra: &str) -> Minion {
    let mut minion = fleet.minion("min", masters, &format!("{FAILOVER}\n{extra}"));
    let public = minion.make_keys(accepted[0]);
    for master in accepted {
        master.preseed("min", &public);
    }
    let signing = masters[0].pki().join("master_sign.pub");
    fs::copy(signing, minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    minion
}

/// A further master with the signing pair of the first.
fn third(fleet: &Fleet, first: &Master) -> Master {
    let mut master = fleet.master("m3", "master_sign_pubkey: True");
    fs::create_dir_all(master.pki()).unwrap();
    for file in ["master_sign.pem", "master_sign.pub"] {
        fs::copy(first.pki().join(file), master.pki().join(file)).unwrap();
    }
    master.start();
    master
}

fn sign_ins(master: &Master) -> usize {
    let log = fs::read_to_string(master.root().join("log")).unwrap_or_default();
    log.lines().filter(|line| line.contains("Authentication accepted from min")).count()
}

fn ready_for(minion: &Minion, master: &Master) -> usize {
    let text = format!("Ready to switch to the Salt Master {}", master.address);
    minion.log().lines().filter(|line| line.contains(&text)).count()
}

fn wait_ready(minion: &Minion, master: &Master, times: usize) {
    wait::until("the standby is ready", || (ready_for(minion, master) >= times).then_some(()));
}

/// The minion says itself that it keeps a link to this master.
fn wait_warm(minion: &Minion, master: &Master) {
    wait::until("the standby is warm", || {
        let status = minion.call(&["--local", "--out", "json", "failover.status"]).json();
        let known = &status["local"]["masters"][master.address.to_string()];
        (known["warm"] == true).then_some(())
    });
}

/// The minion went to this master over the link it had kept. (Later, on a busy machine, it may
/// sign in there again for other reasons.)
fn assert_warm(minion: &Minion, master: &Master) {
    let log = minion.log();
    let connected = format!("Connected to the Salt Master {}", master.address);
    let before = log.split(&connected).next().unwrap();
    assert_ne!(before.len(), log.len(), "never connected: {log}");
    let fresh = format!("Authentication with master at {} successful", master.address);
    assert!(!before.contains(&fresh), "{log}");
}

#[test]
fn the_next_master_has_signed_us_in_before_the_first_dies_and_not_again_after() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    let minion = minion(&fleet, &[&first, &second], &[&first, &second], "");
    first.wait_ping("min");
    wait_ready(&minion, &second, 1);
    assert!(sign_ins(&second) > 0);
    first.process().kill();
    second.wait_ping("min");
    assert_warm(&minion, &second);
}

#[test]
fn a_real_master_can_be_the_standby() {
    for peer in [Peer::Salt3006, Peer::Salt3008] {
        let fleet = Fleet::new(peer, Peer::Saltern);
        let mut first =
            Master::prepare(Peer::Saltern, &fleet.root().join("m1"), "master_sign_pubkey: True");
        let mut second = fleet.master("m2", "master_sign_pubkey: True");
        first.start();
        fs::create_dir_all(second.pki()).unwrap();
        for file in ["master_sign.pem", "master_sign.pub"] {
            fs::copy(first.pki().join(file), second.pki().join(file)).unwrap();
        }
        second.start();
        let minion = minion(&fleet, &[&first, &second], &[&first, &second], "");
        first.wait_ping("min");
        wait_ready(&minion, &second, 1);
        first.process().kill();
        second.wait_ping("min");
        assert_warm(&minion, &second);
    }
}

#[test]
fn a_standby_that_holds_our_key_for_acceptance_is_not_gone_to() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    let third = third(&fleet, &first);
    let masters = [&first, &second, &third];
    let minion = minion(&fleet, &masters, &[&first, &third], "");
    first.wait_ping("min");
    second.wait_key("minions_pre", "min");
    wait_ready(&minion, &third, 1);
    assert_eq!(ready_for(&minion, &second), 0);
    first.process().kill();
    third.wait_ping("min");
    assert!(!minion.log().contains(&format!("Connected to the Salt Master {}", second.address)));
    // Accepted later it is as good as any.
    second.accept("min");
    wait_ready(&minion, &second, 1);
}

#[test]
fn a_standby_that_was_restarted_is_made_ready_again() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, mut second) = fleet.signed_masters();
    let minion = minion(&fleet, &[&first, &second], &[&first, &second], "");
    first.wait_ping("min");
    wait_ready(&minion, &second, 1);
    second.process().kill();
    let before = sign_ins(&second);
    // Else what the minion has is still good: it reports over the link and stays ready.
    fs::remove_dir_all(second.root().join("cache/sessions")).unwrap();
    second.start();
    wait::until("a new sign-in at the standby", || (sign_ins(&second) > before).then_some(()));
    wait_warm(&minion, &second);
    first.process().kill();
    second.wait_ping("min");
    assert_warm(&minion, &second);
}

#[test]
fn without_standby_nobody_is_asked_beforehand() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    let masters = [&first, &second];
    let _minion = minion(&fleet, &masters, &masters, "failover_standby: False");
    first.wait_ping("min");
    assert_eq!(sign_ins(&second), 0);
    first.process().kill();
    second.wait_ping("min");
}
