//! A master that dies, freezes, or is cut off in part is left for the next one without any option
//! that says how soon; one that is merely out of reach for a connection is not.

use std::fs;
use std::net::TcpListener;

use saltern_interop::{Address, Fleet, Master, Minion, Peer, Proxy, Way, wait};

const FAILOVER: &str = "master_type: failover\nverify_master_pubkey_sign: True";

/// Two masters that sign their keys, the first behind a wire that can be cut, and a minion of ours
/// that is accepted on both and sits on the first.
struct Two {
    proxy: Proxy,
    minion: Minion,
    first: Master,
    second: Master,
    _fleet: Fleet,
}

/// As [`Fleet::signed_masters`]; the second one is ours whoever the first one is, and is not started
/// yet.
fn signed(fleet: &Fleet) -> (Master, Master) {
    let mut first = fleet.master("m1", "master_sign_pubkey: True");
    let second =
        Master::prepare(Peer::Saltern, &fleet.root().join("m2"), "master_sign_pubkey: True");
    first.start();
    fs::create_dir_all(second.pki()).unwrap();
    for file in ["master_sign.pem", "master_sign.pub"] {
        fs::copy(first.pki().join(file), second.pki().join(file)).unwrap();
    }
    (first, second)
}

/// Points a minion at these addresses.
fn point(minion: &Minion, masters: &[Address]) {
    let list: Vec<String> = masters.iter().map(ToString::to_string).collect();
    let text = format!("master: [{}]\n", list.join(", "));
    fs::write(minion.conf().join("minion.d/masters.conf"), text).unwrap();
}

fn two(master: Peer) -> Two {
    let fleet = Fleet::new(master, Peer::Saltern);
    let (first, mut second) = signed(&fleet);
    let mut minion = fleet.minion("min", &[&first, &second], FAILOVER);
    let proxy = Proxy::new(&first);
    point(&minion, &[proxy.address, second.address]);
    let public = minion.make_keys(&second);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    first.wait_ping("min");
    // Only now, since a slow start of the first one would send the minion here.
    second.start();
    Two { proxy, minion, first, second, _fleet: fleet }
}

impl Two {
    /// The minion answers on the second master, and is the process that it was.
    fn moved(&mut self) {
        self.second.wait_ping("min");
        assert!(self.minion.process().is_running(), "{}", self.minion.process().printed());
    }

    fn log_has(&self, text: &str) -> bool {
        self.minion.log().contains(text)
    }
}

fn frozen(master: Peer) {
    let mut two = two(master);
    two.first.process().signal("STOP");
    two.moved();
    two.first.process().signal("CONT");
}

#[test]
fn a_frozen_master_is_left() {
    frozen(Peer::Saltern);
}

#[test]
fn a_frozen_salt_3006_master_is_left() {
    frozen(Peer::Salt3006);
}

#[test]
fn a_frozen_salt_3008_master_is_left() {
    frozen(Peer::Salt3008);
}

#[test]
fn a_killed_salt_3008_master_is_left() {
    let mut two = two(Peer::Salt3008);
    two.first.process().kill();
    two.moved();
}

#[test]
fn a_master_whose_request_port_is_dead_is_left() {
    let mut two = two(Peer::Saltern);
    two.proxy.block(4506, Way::ToMaster);
    two.moved();
}

#[test]
fn a_master_whose_publications_do_not_arrive_is_left() {
    let mut two = two(Peer::Saltern);
    two.proxy.block(4505, Way::ToMinion);
    two.moved();
}

#[test]
fn a_salt_3006_master_whose_publications_do_not_arrive_is_left() {
    let mut two = two(Peer::Salt3006);
    two.proxy.block(4505, Way::ToMinion);
    two.moved();
}

#[test]
fn a_master_that_hears_but_is_not_heard_is_left() {
    let mut two = two(Peer::Saltern);
    for port in [4505, 4506] {
        two.proxy.block(port, Way::ToMinion);
    }
    two.moved();
}

#[test]
fn a_master_that_is_heard_but_does_not_hear_is_left() {
    let mut two = two(Peer::Saltern);
    for port in [4505, 4506] {
        two.proxy.block(port, Way::ToMaster);
    }
    two.moved();
}

#[test]
fn a_master_that_refuses_is_left() {
    let mut two = two(Peer::Saltern);
    for port in [4505, 4506] {
        two.proxy.close(port);
    }
    two.moved();
}

/// A NAT that forgot its connections, a firewall that was started anew: what stood is dead, new
/// connections work. Nobody has to move for that.
#[test]
fn connections_that_are_stuck_are_made_anew_without_a_switch() {
    let two = two(Peer::Saltern);
    for port in [4505, 4506] {
        two.proxy.stick(port);
    }
    wait::until("the fresh connection", || {
        two.log_has("A fresh connection to the Salt Master").then_some(())
    });
    two.first.wait_ping("min");
    assert!(!two.log_has(" lost: "), "{}", two.minion.log());
    let status = two.minion.call(&["--local", "failover.status", "--out", "json"]).json();
    assert_eq!(status["local"]["last_switch"], serde_json::Value::Null, "{status}");
    assert_eq!(status["local"]["master"], two.proxy.address.to_string(), "{status}");
}

/// At the start already: a port that takes connections and says nothing, and one where nobody is,
/// cost the minion nothing but a moment.
#[test]
fn masters_that_say_nothing_do_not_keep_a_start_back() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    let silent = Address::fresh();
    // Connections wait in the backlog for ever.
    let _holes = [4505, 4506].map(|port| TcpListener::bind(silent.port(port)).unwrap());
    let mut minion = fleet.minion("min", &[&master], "master_type: failover");
    point(&minion, &[silent, Address::fresh(), master.address]);
    let public = minion.make_keys(&master);
    master.preseed("min", &public);
    master.start();
    minion.start();
    master.wait_ping("min");
}

#[test]
fn all_masters_down_and_one_back_is_the_same_process() {
    let mut two = two(Peer::Saltern);
    let pid = two.minion.process().pid();
    two.first.process().kill();
    two.second.process().kill();
    wait::until("the minion waits", || two.log_has("Waiting for a Salt Master").then_some(()));
    assert!(two.minion.process().is_running());
    two.second.start();
    two.moved();
    assert_eq!(two.minion.process().pid(), pid);
}

/// A job asks for a file just when its master freezes: the next master answers, and the job goes on.
#[test]
fn a_request_under_way_is_answered_by_the_next_master() {
    let mut two = two(Peer::Saltern);
    for master in [&two.first, &two.second] {
        fs::write(master.root().join("srv/salt/wanted"), "here").unwrap();
    }
    let (mark, wanted) = (two.minion.root().join("mark"), two.minion.root().join("wanted"));
    let command = format!("touch {}; sleep 2", mark.display());
    let target = wanted.display().to_string();
    let args = ["--async", "min", "cmd.run,cp.get_file", &command, ",", "salt://wanted", &target];
    two.first.run("salt", &args);
    wait::until("the job runs", || mark.exists().then_some(()));
    two.first.process().signal("STOP");
    wait::until("the file", || (fs::read_to_string(&wanted).ok()? == "here").then_some(()));
    two.moved();
    two.first.process().signal("CONT");
}

/// R1: what happens to one hot master is nothing to the other.
#[test]
fn a_frozen_hot_master_does_not_touch_the_other() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, second) = fleet.signed_masters();
    let mut minion = fleet.minion("min", &[&first, &second], "verify_master_pubkey_sign: True");
    let public = minion.make_keys(&second);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    first.wait_ping("min");
    second.wait_ping("min");
    first.process().signal("STOP");
    let lost = format!("Connection to the Salt Master {} lost", first.address);
    wait::until("the loss is noticed", || minion.log().contains(&lost).then_some(()));
    assert!(!minion.log().contains(&format!("Salt Master {} lost", second.address)));
    second.wait_ping("min");
    first.process().signal("CONT");
    first.wait_ping("min");
    assert!(!minion.log().contains(&format!("Salt Master {} lost", second.address)));
}
