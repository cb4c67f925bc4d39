//! Who gets which publication of our master: subscribers of topics only what concerns them, plain
//! ones (stock minions) everything, as from Salt's own master.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use openssl::hash::{MessageDigest, hash};
use saltern_interop::{Fleet, Master, Minion, Peer, wait};
use serde_json::json;

/// A subscriber that writes down what it gets.
struct Spy(TcpStream);

fn topic(id: &str) -> String {
    let digest = hash(MessageDigest::sha1(), id.as_bytes()).unwrap();
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

impl Spy {
    fn of(master: &Master, topics: &[&str]) -> Spy {
        let mut stream = TcpStream::connect(master.address.port(4505)).unwrap();
        stream.set_read_timeout(Some(wait::LONG)).unwrap();
        let mut hello = vec![0; 64];
        (hello[0], hello[9], hello[10], hello[11]) = (0xff, 0x7f, 3, 1);
        hello[12..16].copy_from_slice(b"NULL");
        hello.extend_from_slice(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB");
        for topic in topics {
            let length = 10 + topic.len() as u8;
            hello.extend_from_slice(
                &[&[4, length][..], b"\x09SUBSCRIBE", topic.as_bytes()].concat(),
            );
        }
        // Its answer comes after the subscriptions have been taken.
        hello.extend_from_slice(b"\x04\x07\x04PING\x00\x00");
        stream.write_all(&hello).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
        let mut spy = Spy(stream);
        while spy.frame() != (4, b"\x04PONG".to_vec()) {}
        spy
    }

    /// One that takes the topics of a minion.
    fn minion(master: &Master, id: &str) -> Spy {
        Spy::of(master, &["broadcast", &topic(id)])
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut length = usize::from(head[1]);
        if head[0] & 2 != 0 {
            let mut rest = [0; 7];
            self.0.read_exact(&mut rest).unwrap();
            let long = [&head[1..], &rest[..]].concat();
            length = u64::from_be_bytes(long.try_into().unwrap()) as usize;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head[0] & !2, body)
    }

    /// The next publication: its topic, or nothing for one without.
    fn next(&mut self) -> Option<String> {
        match self.frame() {
            (1, topic) => {
                let (flags, payload) = self.frame();
                assert_eq!((flags, payload[0] & 0xf0), (0, 0x80), "a packed map");
                Some(String::from_utf8(topic).unwrap())
            }
            (0, payload) => {
                assert_eq!(payload[0] & 0xf0, 0x80);
                None
            }
            // The master asks whether we live.
            (_, _) => {
                self.0.write_all(b"\x04\x05\x04PONG").unwrap();
                self.next()
            }
        }
    }
}

fn introduced(fleet: &Fleet, master: &Master, id: &str, extra: &str) -> Minion {
    let minion = fleet.minion(id, &[master], extra);
    let public = minion.make_keys(master);
    master.preseed(id, &public);
    minion
}

const GROUPS: &str = "nodegroups:\n  webs: 'G@role:web and not web3'";

/// The minions that answer, sorted.
fn answers(master: &Master, target: &[&str]) -> Vec<String> {
    let reply = master.salt(&[target, &["test.ping"]].concat());
    let mut ids: Vec<String> = reply.as_object().unwrap().keys().cloned().collect();
    ids.sort();
    assert!(reply.as_object().unwrap().values().all(|answer| *answer == json!(true)), "{reply}");
    ids
}

#[test]
fn every_kind_of_target_reaches_stock_minions_and_ours() {
    let ours = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = ours.master("m1", GROUPS);
    let stock = [
        (Fleet::new(Peer::Saltern, Peer::Salt3006), "web2", "grains: {role: web}"),
        // One that takes topics, which Salt's own master would have to be told.
        (Fleet::new(Peer::Saltern, Peer::Salt3008), "db2", "zmq_filtering: True"),
    ];
    let mut minions = vec![
        introduced(&ours, &master, "web1", "grains: {role: web}"),
        introduced(&ours, &master, "db1", "grains: {role: db}"),
    ];
    for (fleet, id, extra) in &stock {
        minions.push(introduced(fleet, &master, id, extra));
    }
    master.start();
    minions.iter_mut().for_each(Minion::start);
    minions.iter().for_each(|minion| master.wait_ping(&minion.id));
    let targets: [(&[&str], &[&str]); 10] = [
        (&["*"], &["db1", "db2", "web1", "web2"]),
        (&["web*"], &["web1", "web2"]),
        (&["db1"], &["db1"]),
        (&["-L", "web1,db2"], &["db2", "web1"]),
        (&["-E", "(web|db)1"], &["db1", "web1"]),
        (&["-G", "role:web"], &["web1", "web2"]),
        (&["-P", "role:^(db|web)$"], &["db1", "web1", "web2"]),
        (&["-N", "webs"], &["web1", "web2"]),
        (&["-C", "G@role:web and not web2 or db2"], &["db2", "web1"]),
        (&["-C", "not G@role:web and not N@webs"], &["db1", "db2"]),
    ];
    // Grains are kept as soon as a minion has asked for its pillar.
    wait::until("the grains of all", || {
        let kept = master.run("salt-run", &["cache.grains", "*", "--out", "json"]).json();
        minions.iter().all(|minion| kept[&minion.id].get("os").is_some()).then_some(())
    });
    for (target, expected) in targets {
        assert_eq!(answers(&master, target), expected, "{target:?}");
    }
}

#[test]
fn topics_get_only_what_concerns_them() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    let mut web = introduced(&fleet, &master, "web1", "grains: {role: web}");
    let mut db = introduced(&fleet, &master, "db1", "grains: {role: db}");
    // Accepted, and nothing is known of it.
    let _ghost = introduced(&fleet, &master, "ghost", "");
    master.start();
    web.start();
    db.start();
    let known = || {
        let kept = master.run("salt-run", &["cache.grains", "*", "--out", "json"]).json();
        (kept["web1"]["role"] == "web" && kept["db1"]["role"] == "db").then_some(())
    };
    wait::until("the grains of both", known);
    let mut spies = ["web1", "db1", "ghost"].map(|id| Spy::minion(&master, id));
    let mut plain = Spy::of(&master, &[""]);
    let publish = |target: &[&str]| {
        let all = [&["--async", "--out", "json"], target, &["test.ping"]].concat();
        assert_eq!(master.run("salt", &all).code, 0);
    };
    // Whom it reaches, by target; a broadcast after each shows that nothing else had come.
    let cases: [(&[&str], &[&str]); 6] = [
        (&["-L", "db1,web1"], &["web1", "db1"]),
        (&["web*"], &["web1"]),
        (&["-E", "(db|gh).*"], &["db1", "ghost"]),
        (&["-G", "role:web"], &["web1", "ghost"]),
        (&["-C", "not G@role:web"], &["db1", "ghost"]),
        (&["-I", "none:x"], &["web1", "db1", "ghost"]),
    ];
    for (target, reached) in cases {
        let by_topic = target[0] != "-I";
        publish(target);
        publish(&["*"]);
        assert_eq!((plain.next(), plain.next()), (None, None), "{target:?}");
        for (spy, id) in spies.iter_mut().zip(["web1", "db1", "ghost"]) {
            if reached.contains(&id) {
                let expected = if by_topic { topic(id) } else { "broadcast".to_owned() };
                assert_eq!(spy.next(), Some(expected), "{id} {target:?}");
            }
            assert_eq!(spy.next().as_deref(), Some("broadcast"), "{id} {target:?}");
        }
    }
    // Keys that an operator adds or removes by hand count at once.
    fs::remove_file(master.pki().join("minions/ghost")).unwrap();
    publish(&["-E", "(db|gh).*"]);
    publish(&["*"]);
    let [_, db, ghost] = &mut spies;
    assert_eq!(db.next(), Some(topic("db1")));
    assert_eq!(ghost.next().as_deref(), Some("broadcast"));
}

#[test]
fn zmq_filtering_is_as_in_salt() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let stock = Fleet::new(Peer::Saltern, Peer::Salt3006);
    let mut master = fleet.master("m1", "zmq_filtering: True");
    let mut ours = introduced(&fleet, &master, "a1", "");
    let mut theirs = introduced(&stock, &master, "a2", "zmq_filtering: True");
    master.start();
    ours.start();
    theirs.start();
    ["a1", "a2"].iter().for_each(|id| master.wait_ping(id));
    let mut plain = Spy::of(&master, &[""]);
    assert_eq!(answers(&master, &["-L", "a1,a2"]), ["a1", "a2"]);
    assert_eq!([plain.next(), plain.next()], [Some(topic("a1")), Some(topic("a2"))]);
    assert_eq!(answers(&master, &["-G", "kernel:Linux"]), ["a1", "a2"]);
    // The question who is still at work may have come between.
    let next = std::iter::from_fn(|| Some(plain.next()));
    let mut rest = next.skip_while(|topic| topic.as_deref() != Some("broadcast"));
    assert!(rest.next().is_some());
}
