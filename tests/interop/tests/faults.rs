//! Faults of networks and hosts, made for real: programs in network namespaces, packets dropped
//! by nftables, links that are pulled, lossy or slow, processes that are frozen or killed.
//!
//! Needs root, iproute2 and nftables; says `SKIPPED` where it cannot run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;

use saltern_interop::chaos::{self, Plan};
use saltern_interop::{Fault, Fleet, Host, Master, Minion, Net, Peer, Quality, wait};
use serde_json::json;

/// Failover as the recipe sets it: no interval, so that only what is on by default detects.
const RECIPE: &str = "master_type: failover\nverify_master_pubkey_sign: True\n\
                      retry_dns: 0\nmaster_tries: -1";

/// Two masters and a minion that is at the first, each on a host of its own. The network comes
/// last: it is removed when all that runs in it has ended.
struct Story {
    minion: Minion,
    first: Master,
    second: Master,
    _fleet: Fleet,
    _net: Net,
}

impl Story {
    fn begin(what: &str) -> Option<Self> {
        Story::begin_with(what, |_| {})
    }

    /// `before` is done to the first master before the minion starts.
    fn begin_with(what: &str, before: impl FnOnce(&mut Master)) -> Option<Self> {
        let net = Net::new(what)?;
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let mut masters = fleet.signed_masters_on(&[net.host(), net.host()], "");
        let list = format!("[{}, {}]", masters[0].address, masters[1].address);
        let mut minion = fleet.minion_on(&net.host(), "min", &list, RECIPE);
        fleet.introduce(&minion, &masters);
        before(&mut masters[0]);
        minion.start();
        let second = masters.pop().unwrap();
        let first = masters.pop().unwrap();
        Some(Story { minion, first, second, _fleet: fleet, _net: net })
    }

    /// Begins at the first master, does something to it and waits until the second has the minion.
    fn leaves(what: &str, fault: impl FnOnce(&mut Master)) {
        let Some(mut story) = Story::begin(what) else { return };
        story.first.wait_ping("min");
        let pid = story.minion.process().pid();
        fault(&mut story.first);
        story.second.wait_ping("min");
        assert!(story.minion.process().is_running());
        assert_eq!(story.minion.process().pid(), pid);
    }

    /// The minion answers the first master and was never at another one.
    fn stayed(&self) {
        self.first.wait_ping("min");
        let connected = format!("Connected to the Salt Master {}", self.second.address);
        assert!(!self.minion.log().contains(&connected), "the minion switched");
    }
}

fn host(master: &Master) -> &Host {
    master.host.as_ref().unwrap()
}

/// Waits until the minion knows that it has lost a master.
fn wait_lost(minion: &Minion) {
    wait::until("the minion to notice", || {
        minion.log().contains("Connection to the Salt Master").then_some(())
    });
}

#[test]
fn frozen_master_is_left() {
    Story::leaves("frozen", |first| first.process().signal("STOP"));
}

#[test]
fn killed_master_is_left() {
    Story::leaves("killed", |first| first.process().kill());
}

#[test]
fn packets_dropped_both_ways() {
    Story::leaves("silence", |first| host(first).fault(Fault::Silence));
}

#[test]
fn packets_to_the_master_dropped() {
    Story::leaves("deaf", |first| host(first).fault(Fault::Deaf));
}

#[test]
fn packets_from_the_master_dropped() {
    Story::leaves("mute", |first| host(first).fault(Fault::Mute));
}

#[test]
fn publish_port_dropped_while_requests_are_answered() {
    Story::leaves("4505", |first| host(first).fault(Fault::Port(4505)));
}

#[test]
fn request_port_dropped_while_publications_pass() {
    Story::leaves("4506", |first| host(first).fault(Fault::Port(4506)));
}

#[test]
fn cable_of_the_master_pulled() {
    Story::leaves("cable of the master", |first| host(first).link(false));
}

#[test]
fn master_that_accepts_connections_and_never_answers() {
    let frozen = |first: &mut Master| first.process().signal("STOP");
    let Some(story) = Story::begin_with("silent from the start", frozen) else { return };
    story.second.wait_ping("min");
}

#[test]
fn connections_a_nat_forgot_are_made_anew_at_the_same_master() {
    let Some(mut story) = Story::begin("half-open NAT") else { return };
    story.first.wait_ping("min");
    let pid = story.minion.process().pid();
    assert!(host(&story.first).forget_connections() >= 2);
    story.stayed();
    assert_eq!(story.minion.process().pid(), pid);
}

#[test]
fn cable_of_the_minion_pulled_and_plugged_in() {
    let Some(mut story) = Story::begin("cable of the minion") else { return };
    story.first.wait_ping("min");
    let pid = story.minion.process().pid();
    let cable = story.minion.host.clone().unwrap();
    cable.link(false);
    wait_lost(&story.minion);
    cable.link(true);
    wait::until("an answer at either master", || {
        [&story.first, &story.second].iter().any(|m| m.pings("min")).then_some(())
    });
    assert_eq!(story.minion.process().pid(), pid);
}

#[test]
fn lossy_slow_link_causes_no_switch() {
    let Some(story) = Story::begin("loss, delay and reordering") else { return };
    story.first.wait_ping("min");
    let quality = Quality { delay: 60, jitter: 20, loss: 5, reorder: 5 };
    eprintln!("bad link by {}", story.minion.host.as_ref().unwrap().quality(quality));
    for number in 0..30 {
        let text = format!("job {number}");
        assert_eq!(story.first.salt(&["min", "cmd.run", &format!("echo {text}")])["min"], text);
    }
    story.stayed();
}

#[test]
fn very_slow_link_causes_no_switch() {
    let Some(story) = Story::begin("300 ms each way") else { return };
    story.first.wait_ping("min");
    let quality = Quality { delay: 300, jitter: 20, ..Quality::default() };
    story.minion.host.as_ref().unwrap().quality(quality);
    for _ in 0..10 {
        assert_eq!(story.first.salt(&["min", "test.ping"]), json!({"min": true}));
    }
    story.stayed();
}

#[test]
fn one_living_master_among_nine_black_holes() {
    let Some(net) = Net::new("black holes") else { return };
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let hole = net.host();
    hole.fault(Fault::Deaf);
    let holes: Vec<Ipv4Addr> = (200..209).map(|last| hole.alias(last)).collect();
    let masters = fleet.signed_masters_on(&[net.host()], "");
    let list: Vec<_> = holes.iter().chain([&host(&masters[0]).address]).collect();
    let list = format!("[{}]", list.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(", "));
    let mut minion = fleet.minion_on(&net.host(), "min", &list, RECIPE);
    fleet.introduce(&minion, &masters);
    minion.start();
    masters[0].wait_ping("min");
    drop(minion);
}

#[test]
fn all_masters_down_then_one_back() {
    let Some(mut story) = Story::begin("all masters down") else { return };
    story.first.wait_ping("min");
    let pid = story.minion.process().pid();
    story.first.process().kill();
    story.second.process().kill();
    wait_lost(&story.minion);
    assert!(story.minion.process().is_running());
    story.second.start();
    story.second.wait_ping("min");
    assert_eq!(story.minion.process().pid(), pid);
}

#[test]
fn name_that_moves_to_another_address() {
    let Some(net) = Net::new("a name that moves") else { return };
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut masters = fleet.signed_masters_on(&[net.host(), net.host()], "");
    let own = net.host();
    own.names(&[("salt.test", host(&masters[0]).address)]);
    let extra = "verify_master_pubkey_sign: True";
    let mut minion = fleet.minion_on(&own, "min", "salt.test", extra);
    fleet.introduce(&minion, &masters);
    minion.start();
    masters[0].wait_ping("min");
    masters[0].process().kill();
    own.names(&[("salt.test", host(&masters[1]).address)]);
    masters[1].wait_ping("min");
    // And to an address that drops packets, with connections that cannot be closed.
    masters[0].start();
    host(&masters[1]).fault(Fault::Silence);
    own.names(&[("salt.test", host(&masters[0]).address)]);
    masters[0].wait_ping("min");
}

#[test]
fn half_a_minute_of_chaos_loses_nothing_and_doubles_nothing() {
    let program = env!("CARGO_BIN_EXE_chaos").into();
    let plan = Plan { minutes: 0.5, seed: 3, minions: 6, program };
    let Some(report) = chaos::run(&plan) else { return };
    assert!(report.is_good(), "{}", report.text());
    assert!(report.ran > 0, "{}", report.text());
}
