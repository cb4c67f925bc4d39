//! Options of a minion that have to do with its masters: honoured, or refused with a sentence.

use std::fs;
use std::net::TcpListener;

use saltern_interop::{Address, Fleet, Minion, Peer, Proxy, wait};

/// Starts a minion of ours that must not start, and returns what it exited with and printed.
fn refused(name: &str, extra: &str) -> (i32, String) {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = fleet.master("m1", "");
    let mut minion = fleet.minion(name, &[&master], extra);
    minion.start();
    let code = wait::until("the end of the minion", || minion.process().exit_code());
    let text = minion.process().printed() + &minion.log();
    (code, text)
}

#[test]
fn what_is_not_done_here_is_refused_with_a_sentence() {
    for (extra, code, words) in [
        ("master_type: sometimes", 1, "'sometimes' is unknown; use one of str"),
        ("discovery: True", 1, "option discovery: masters are not looked for"),
        ("discovery: {match: any}", 1, "option discovery: masters are not looked for"),
        ("transport: tcp", 64, "'tcp' cannot be used: only 'zeromq' is built"),
        ("transport: ws", 64, "'ws' cannot be used: only 'zeromq' is built"),
        ("transport: detect", 64, "'detect' cannot be used: only 'zeromq' is built"),
        ("master_type: func", 1, "names a function that returns an address"),
    ] {
        let (found, text) = refused("min", extra);
        assert_eq!(found, code, "{extra}: {text}");
        assert!(text.contains(words), "{extra}: {text}");
    }
}

/// A master of 3008.2 that wants each return signed takes ours; one that gets none drops it.
#[test]
fn returns_are_signed_as_masters_check_them() {
    for peer in [Peer::Salt3008, Peer::Saltern] {
        let fleet = Fleet::new(peer, Peer::Saltern);
        // 3008.2 looks up an option that its masters do not have.
        let real = if peer == Peer::Salt3008 { "signing_algorithm: PKCS1v15-SHA1" } else { "" };
        let master = format!(
            "require_minion_sign_messages: True\ndrop_messages_signature_fail: True\n{real}"
        );
        let (master, _minion) = fleet.pair(&master, "minion_sign_messages: True");
        let long = "x".repeat(100);
        let reply = master.salt(&["min", "test.echo", &long]);
        assert_eq!(reply["min"], long, "{peer:?}");
        let reply = master.salt(&["min", "test.arg", "1", "ü", "key={a: [1, 2.5, null]}"]);
        assert_eq!(reply["min"]["kwargs"]["key"]["a"][1], 2.5, "{peer:?}: {reply}");
    }
}

/// Whether a connection from `from` (address and, if not 0, port) to a port of `to` is there.
fn connected(from: (&str, u16), to: (&str, u16)) -> bool {
    // Little-endian hex, as the kernel writes it.
    let hex = |address: &str| -> String {
        let bytes = address.split('.').rev().map(|part| part.parse::<u8>().unwrap());
        bytes.map(|byte| format!("{byte:02X}")).collect()
    };
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let port = if from.1 == 0 { String::new() } else { format!("{:04X}", from.1) };
        local.starts_with(&format!("{}:{port}", hex(from.0)))
            && remote == format!("{}:{:04X}", hex(to.0), to.1)
    })
}

/// Connections come from the address and the ports that are named.
#[test]
fn the_local_end_of_connections_can_be_named() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let here = Address::fresh();
    let options =
        format!("source_address: {here}\nsource_ret_port: 14506\nsource_publish_port: 14505");
    let (master, _minion) = fleet.pair("", &options);
    let (here, there) = (here.to_string(), master.address.to_string());
    for (port, local) in [(4505, 14505), (4506, 14506)] {
        wait::until(&format!("a connection from {here}:{local} to port {port}"), || {
            connected((&here, local), (&there, port)).then_some(())
        });
    }
    assert_eq!(master.salt(&["min", "test.echo", "still"])["min"], "still");
}

/// An interface is as good as its address; one that is not here is told, and any will do.
#[test]
fn the_interface_of_connections_can_be_named() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, minion) = fleet.pair("", "source_interface_name: lo");
    let there = master.address.to_string();
    wait::until("a connection from the address of lo", || {
        connected(("127.0.0.1", 0), (&there, 4505)).then_some(())
    });
    assert!(!minion.log().contains("source_interface_name"), "{}", minion.log());
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (_master, minion) = fleet.pair("", "source_interface_name: none7");
    assert!(minion.log().contains("the interface none7 is not here"), "{}", minion.log());
}

/// `master_type: func`: the one name, or the list, that the function returns.
#[test]
fn a_function_can_name_the_masters() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = fleet.master("m1", "");
    for (function, named) in [("test.version", None), ("sys.list_modules", Some("grains"))] {
        let mut minion = fleet.minion(&function.replace('.', "-"), &[&master], "");
        let text = format!("master_type: func\nmaster: {function}\n");
        fs::write(minion.conf().join("minion.d/func.conf"), text).unwrap();
        let named = match named {
            Some(named) => named.to_owned(),
            None => {
                let output = minion.call(&["--local", "test.version", "--out", "json"]).json();
                output["local"].as_str().unwrap().to_owned()
            }
        };
        minion.start();
        let text = format!("The Salt Master {named} is not available");
        wait::until(&text, || minion.log().contains(&text).then_some(()));
        assert!(minion.log().contains(&format!("Evaluated master from module: {function}")));
        assert!(minion.process().is_running());
    }
}

/// A key with another fingerprint than `master_finger` is not used; the next master is.
#[test]
fn a_wrong_master_finger_leads_to_the_next_master() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut first = fleet.master("m1", "");
    let mut second = fleet.master("m2", "");
    first.start();
    second.start();
    let printed = second.run("salt-key", &["-f", "master.pub", "--out", "json"]).json();
    let finger = printed["local"]["master.pub"].as_str().unwrap().to_owned();
    let extra = format!("master_type: failover\nmaster_finger: '{finger}'");
    let mut minion = fleet.minion("min", &[&first, &second], &extra);
    let public = minion.make_keys(&first);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    minion.start();
    second.wait_ping("min");
    assert!(minion.process().is_running());
}

/// R15: whatever the minion waits for, SIGTERM ends it at once.
#[test]
fn a_minion_that_waits_ends_when_told() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let silent = Address::fresh();
    let _holes = [4505, 4506].map(|port| TcpListener::bind(silent.port(port)).unwrap());
    let mut pending = fleet.master("m1", "");
    pending.start();
    let stuck = fleet.master("m2", "");
    let proxy = Proxy::new(&stuck);
    for (id, address, extra, sign) in [
        ("delayed", silent, "random_startup_delay: 100000", "Sleeping for"),
        ("silent", silent, "auth_timeout: 60", "Connecting to the Salt Master"),
        ("refused", Address::fresh(), "", "Waiting for a Salt Master"),
        ("pending", pending.address, "acceptance_wait_time: 3600", "Waiting for acceptance"),
        ("nobody", proxy.address, "auth_timeout: 60", "Connecting to the Salt Master"),
    ] {
        let mut minion: Minion = fleet.minion(id, &[&pending], "");
        let text = format!("master: {address}\n{extra}\n");
        fs::write(minion.conf().join("minion.d/m.conf"), text).unwrap();
        minion.start();
        wait::until(&format!("{id}: {sign}"), || minion.log().contains(sign).then_some(()));
        let (status, _) = minion.process().stop();
        assert_eq!(status.code(), Some(0), "{id}: {}", minion.log());
    }
}
