//! Readiness before the disaster, as operators see it: `failover.status` and `status.master` on a
//! minion, `manage.failover` on a master, and moving minions by hand.

use std::fs;

use saltern_interop::{Fleet, Master, Minion, Output, Peer, Program, Proxy, wait};
use serde_json::{Value, json};

const SIGNED: &str = "master_sign_pubkey: True";

/// Reports come soon, so that a test need not wait for them.
const FAILOVER: &str = "master_type: failover\nverify_master_pubkey_sign: True\nretry_dns: 0\n\
                        failover_standby_interval: 10";

/// Gives `to` the signing pair of `from`.
fn share_signing(from: &Master, to: &Master) {
    fs::create_dir_all(to.pki()).unwrap();
    for file in ["master_sign.pem", "master_sign.pub"] {
        fs::copy(from.pki().join(file), to.pki().join(file)).unwrap();
    }
}

fn trust_signing(minion: &Minion, of: &Master) {
    fs::copy(of.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
}

/// What `salt-call --local failover.status` says.
fn status(minion: &Minion) -> Value {
    minion.call(&["--local", "--out", "json", "failover.status"]).json()["local"].clone()
}

/// What the minion knows of one master.
fn known(minion: &Minion, master: &Master) -> Value {
    status(minion)["masters"][master.address.to_string()].clone()
}

/// The file it reads is written at most once a second.
fn wait_status(minion: &Minion, member: &str, wanted: &Value) {
    wait::until(&format!("{member} is {wanted}"), || {
        (status(minion)[member] == *wanted).then_some(())
    });
}

fn wait_known(minion: &Minion, master: &Master, wanted: &str) -> Value {
    wait::until(&format!("{wanted} of {}", master.address), || {
        let known = known(minion, master);
        (known["state"] == wanted || known["reason"] == wanted).then_some(known)
    })
}

fn fleet_of(master: &Master, args: &[&str]) -> (i32, Value) {
    let mut all = vec!["--out", "json", "manage.failover"];
    all.extend(args);
    let output = master.run("salt-run", &all);
    (output.code, output.json())
}

/// Waits until the master's view of the fleet is as wanted.
fn wait_fleet(master: &Master, what: &str, wanted: impl Fn(i32, &Value) -> bool) -> Value {
    wait::until(what, || {
        let (code, fleet) = fleet_of(master, &[]);
        wanted(code, &fleet).then_some(fleet)
    })
}

/// What the tools see on a master's bus, from now on.
fn listen(fleet: &Fleet, master: &Master) -> Program {
    let mut command = master.tool("salt-run");
    command.args(["state.event", "pretty=False"]);
    let program = Program::start("salt-run", command, &fleet.root().join("events"));
    // It listens once it has seen something.
    wait::until("the listener", || {
        master.run("salt-run", &["event.send", "my/listening"]);
        program.printed().contains("my/listening").then_some(())
    });
    program
}

fn salt_on(master: &Master, args: &[&str]) -> Output {
    let mut all = vec!["--out", "json", "--static", "-t", "60"];
    all.extend(args);
    master.run("salt", &all)
}

#[test]
fn readiness_names_the_reason_of_each_master_and_changes_without_a_restart() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut first = fleet.master("m1", SIGNED);
    let mut pending = fleet.master("m2", SIGNED);
    let down = fleet.master("m3", SIGNED);
    let mut stranger = fleet.master("m4", SIGNED);
    first.start();
    share_signing(&first, &pending);
    pending.start();
    stranger.start();
    let masters = [&first, &pending, &down, &stranger];
    let mut minion = fleet.minion("min", &masters, FAILOVER);
    let public = minion.make_keys(&first);
    trust_signing(&minion, &first);
    for master in [&first, &stranger] {
        master.preseed("min", &public);
    }
    minion.start();
    first.wait_ping("min");

    let why = wait_known(&minion, &pending, "key pending");
    assert_eq!(why["state"], "not ready", "{why}");
    assert!(why["text"].as_str().unwrap().contains("acceptance"), "{why}");
    wait_known(&minion, &down, "unreachable");
    wait_known(&minion, &stranger, "signature wrong");
    assert_eq!(known(&minion, &first)["state"], "current");

    let lost = wait_fleet(&first, "the report of the three refusals", |_, fleet| {
        fleet["minions"]["min"]["cannot_go_to"].as_object().is_some_and(|c| c.len() == 3)
    });
    let (code, _) = fleet_of(&first, &[]);
    assert_eq!(code, 1, "somebody would be lost");
    assert_eq!((&lost["safe"], &lost["would_be_lost"]), (&json!(false), &json!(["min"])));
    let row = &lost["minions"]["min"];
    assert_eq!(row["on"], json!([first.address.to_string()]));
    for (master, reason) in
        [(&pending, "key pending"), (&down, "unreachable"), (&stranger, "signature wrong")]
    {
        assert_eq!(row["cannot_go_to"][master.address.to_string()]["reason"], reason);
        assert_eq!(lost["masters"][master.address.to_string()]["refuses"][reason], 1);
    }
    assert_eq!(lost["masters"][first.address.to_string()]["would_be_lost"], 1);
    let unheard = first.run("salt-run", &["manage.failover", "master=nowhere"]);
    assert_eq!(unheard.code, 1, "{unheard:?}");
    assert!(unheard.stdout.contains("on no minion's list of masters"), "{unheard:?}");
    let table = first.run("salt-run", &["manage.failover"]);
    assert_eq!(table.code, 1);
    for word in ["MINION", "LOST", "key pending", "unreachable", "signature wrong", "1 would be"] {
        assert!(table.stdout.contains(word), "{word} is not in {}", table.stdout);
    }

    let pid = minion.process().pid();
    pending.accept("min");
    wait_known(&minion, &pending, "ready");
    let safe = wait_fleet(&first, "the report that all is well", |code, _| code == 0);
    assert_eq!((&safe["safe"], &safe["would_be_lost"]), (&json!(true), &json!([])));
    assert_eq!(safe["minions"]["min"]["could_go_to"], json!([pending.address.to_string()]));
    assert_eq!(minion.process().pid(), pid);
    assert!(minion.process().is_running());
    // A master that could be gone to hears it too, and knows where the minion is.
    let there = wait_fleet(&pending, "the report at the standby", |_, fleet| {
        fleet["minions"]["min"]["state"] == "safe" || fleet["summary"]["elsewhere"] == 1
    });
    assert_eq!(there["minions"]["min"]["on"], json!([first.address.to_string()]), "{there}");
}

#[test]
fn each_refusal_has_its_word() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut first = fleet.master("m1", SIGNED);
    let mut drained = fleet.master("m2", SIGNED);
    let mut denying = fleet.master("m3", SIGNED);
    let mut rejecting = fleet.master("m4", SIGNED);
    let mut unsigned = fleet.master("m5", "");
    let mut full = fleet.master("m6", &format!("{SIGNED}\nmax_minions: 1"));
    first.start();
    for master in [&drained, &denying, &rejecting, &full] {
        share_signing(&first, master);
    }
    let masters = [&first, &drained, &denying, &rejecting, &unsigned, &full];
    let mut minion = fleet.minion("min", &masters, FAILOVER);
    let public = minion.make_keys(&first);
    trust_signing(&minion, &first);
    for master in [&first, &drained, &unsigned, &full] {
        master.preseed("min", &public);
    }
    // Somebody else's key under our name.
    denying.preseed("min", &first.pki().join("master.pub"));
    for master in [&mut drained, &mut denying, &mut rejecting, &mut unsigned] {
        master.start();
    }
    assert_eq!(drained.run("salt-run", &["master.drain"]).code, 0);
    full.start();
    let mut other = fleet.minion("other", &[&full], FAILOVER);
    let public = other.make_keys(&full);
    trust_signing(&other, &first);
    full.preseed("other", &public);
    other.start();
    full.wait_ping("other");
    minion.start();
    first.wait_ping("min");
    rejecting.wait_key("minions_pre", "min");
    assert_eq!(rejecting.run("salt-key", &["-y", "-r", "min"]).code, 0);

    wait_known(&minion, &drained, "draining");
    wait_known(&minion, &denying, "key denied");
    wait_known(&minion, &unsigned, "signature missing");
    wait_known(&minion, &rejecting, "key rejected");
    wait_known(&minion, &full, "full");
    assert_eq!(fleet_of(&drained, &[]).1["master"]["draining"], true);
    assert_eq!(drained.run("salt-run", &["master.undrain"]).code, 0);
    wait_known(&minion, &drained, "ready");
}

#[test]
fn who_uses_several_masters_at_a_time_loses_none_of_them() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut first, mut second) = (fleet.master("m1", ""), fleet.master("m2", ""));
    let mut minion = fleet.minion("min", &[&first, &second], "failover_standby_interval: 10");
    first.start();
    second.start();
    let public = minion.make_keys(&first);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    minion.start();
    let both = json!([first.address.to_string(), second.address.to_string()]);
    for master in [&first, &second] {
        let seen = wait_fleet(master, "both connections", |_, fleet| {
            fleet["minions"]["min"]["on"].as_array().is_some_and(|on| on.len() == 2)
        });
        assert_eq!((&seen["safe"], &seen["minions"]["min"]["on"]), (&json!(true), &both));
    }
    wait_status(&minion, "master", &both);
    let stays = salt_on(&first, &["min", "failover.switch"]);
    assert!(stays.stdout.contains("nothing to switch"), "{stays:?}");
    second.process().kill();
    let lost = wait_fleet(&first, "one connection is left", |code, _| code == 1);
    assert_eq!(lost["would_be_lost"], json!(["min"]));
    wait_status(&minion, "state", &json!("partly connected"));
}

#[test]
fn minions_are_moved_by_hand_and_stay_where_nobody_else_takes_them() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (first, second) = fleet.signed_masters();
    let mut third = fleet.master("m3", SIGNED);
    share_signing(&first, &third);
    third.start();
    let mut minion = fleet.minion("min", &[&first, &second, &third], FAILOVER);
    let public = minion.make_keys(&first);
    trust_signing(&minion, &first);
    for master in [&first, &second] {
        master.preseed("min", &public);
    }
    minion.start();
    first.wait_ping("min");
    let pid = minion.process().pid();
    let [one, two, three] = [&first, &second, &third].map(|master| master.address.to_string());

    let refused = salt_on(&first, &["min", "failover.switch", &three]).json()["min"].clone();
    assert_eq!((&refused["result"], &refused["master"]), (&json!(false), &json!(one)));
    assert!(refused["comment"].as_str().unwrap().contains("key pending"), "{refused}");
    let unknown = salt_on(&first, &["min", "failover.switch", "nobody.example.org"]);
    assert!(unknown.stdout.contains("not on this minion's list"), "{unknown:?}");
    first.wait_ping("min");

    let events = listen(&fleet, &second);
    let moved = salt_on(&first, &["min", "failover.switch", &two]).json();
    let answer = &moved["min"];
    assert_eq!((&answer["result"], &answer["master"]), (&json!(true), &json!(two)), "{moved}");
    second.wait_ping("min");
    let event = wait::until("the event of the switch", || {
        let printed = events.printed();
        let line = printed.lines().find(|l| l.starts_with("salt/minion/min/failover/switch"))?;
        Some(line.to_owned())
    });
    assert!(event.contains(&one) && event.contains(&two), "{event}");

    // The file it is read from is written at most once a second.
    let shown = wait::until("the new master in status.master", || {
        let shown = minion.call(&["--out", "json", "status.master"]).json()["local"].clone();
        (shown["master"] == json!(two)).then_some(shown)
    });
    assert_eq!(shown["last_switch"]["from"], json!(one), "{shown}");
    assert_eq!(shown["last_switch"]["reason"], "asked to leave", "{shown}");
    assert!(shown["spool_depth"].is_u64() && shown["since"].is_string(), "{shown}");
    assert_eq!(shown["lost"]["returns"], 0, "{shown}");
    minion.call(&["event.fire", "{nothing: 1}", "fire_master"]);
    wait::until("what is no event to be counted", || {
        let shown = minion.call(&["--out", "json", "failover.status"]).json()["local"].clone();
        (shown["lost"]["events_malformed"] == 1).then_some(())
    });
    let lossy = wait::until("the master to hear of it", || {
        let (_, fleet) = fleet_of(&second, &["only=lossy"]);
        (fleet["minions"]["min"]["lost"]["events_malformed"] == 1).then_some(fleet)
    });
    assert_eq!((&lossy["safe"], &lossy["minions"]["min"]["state"]), (&json!(true), &json!("safe")));
    let health = second.run("salt-run", &["--out", "json", "manage.health"]).json();
    assert_eq!(health["lines"]["events_malformed_by_minions"]["value"], 1, "{health}");
    assert_eq!(health["lines"]["publications_lost_by_minions"]["value"], 0, "{health}");

    let back = minion.call(&["--local", "--out", "json", "failover.switch", &one]).json();
    assert_eq!(back["local"]["result"], true, "{back}");
    first.wait_ping("min");
    assert_eq!(minion.process().pid(), pid);
}

#[test]
fn a_publication_that_cannot_be_opened_is_counted_where_it_is_lost_and_on_the_master() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "");
    master.start();
    let mut minion = fleet.minion("min", &[&master], "failover_standby_interval: 10");
    let proxy = Proxy::new(&master);
    let behind = format!("master: {}\n", proxy.address);
    fs::write(minion.conf().join("minion.d/masters.conf"), behind).unwrap();
    master.preseed("min", &minion.make_keys(&master));
    minion.start();
    master.wait_ping("min");

    proxy.garble(4505, true);
    master.run("salt", &["--async", "min", "test.ping"]);
    wait_status(
        &minion,
        "lost",
        &json!({"returns": 0, "publications": 1, "events": 0, "events_malformed": 0}),
    );
    proxy.garble(4505, false);
    master.wait_ping("min");
    let told = wait::until("the master to hear of it", || {
        let (code, fleet) = fleet_of(&master, &["only=lossy"]);
        (fleet["summary"]["lossy"] == 1).then_some((code, fleet))
    });
    assert_eq!(told.1["minions"]["min"]["lost"]["publications"], 1, "{told:?}");
    let health = master.run("salt-run", &["--out", "json", "manage.health"]);
    let lines = health.json()["lines"].clone();
    assert_eq!(lines["publications_lost_by_minions"]["value"], 1, "{health:?}");
    assert_eq!(health.code, 1, "{health:?}");
}

#[test]
fn a_minion_that_does_not_run_says_so_and_is_not_connected() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut master, mut minion) = fleet.pair("", "failover_standby_interval: 10");
    let address = master.address.to_string();
    let alone = wait_fleet(&master, "the first report", |_, fleet| {
        fleet["minions"]["min"]["state"] == "would be lost"
    });
    assert!(alone["minions"]["min"]["why"].as_str().unwrap().contains("no other master"));
    let shown = minion.call(&["--out", "json", "failover.status"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let shown = shown.json()["local"].clone();
    assert_eq!((&shown["running"], &shown["master"]), (&json!(true), &json!(address)));
    // Salt's meaning of the functions with a name.
    for (args, answer) in [
        (["status.master", address.as_str()], json!(true)),
        (["status.master", "192.0.2.1"], json!(false)),
        (["status.ping_master", address.as_str()], json!(true)),
    ] {
        let got = salt_on(&master, &[&["min"], args.as_slice()].concat()).json();
        assert_eq!(got["min"], answer, "{args:?}");
    }

    minion.process().stop();
    let gone = minion.call(&["--local", "--out", "json", "failover.status"]);
    assert_eq!(gone.code, 1, "{gone:?}");
    let gone = gone.json()["local"].clone();
    assert_eq!((&gone["running"], &gone["state"]), (&json!(false), &json!("not running")));
    assert!(gone["comment"].as_str().unwrap().contains("does not run"), "{gone}");

    // Not connected is not lost: the exit status says that all who are there are safe.
    let away = |code: i32, fleet: &Value| code == 0 && fleet["not_connected"] == json!(["min"]);
    wait_fleet(&master, "the minion is not connected", away);
    // What it said last is still known after a restart, until its key goes.
    assert!(master.process().stop().0.success());
    master.start();
    let kept = wait_fleet(&master, "the report outlives the master", away);
    assert!(kept["minions"]["min"]["report_age"].is_u64(), "{kept}");
    assert_eq!(master.run("salt-key", &["-y", "-d", "min"]).code, 0);
    wait_fleet(&master, "the minion without a key is forgotten", |_, fleet| {
        fleet["minions"] == json!({})
    });
    master.preseed("min", &minion.pki().join("minion.pub"));
    let anew = wait_fleet(&master, "the key is there again", away);
    assert_eq!(anew["minions"]["min"]["report_age"], Value::Null, "{anew}");
}

#[test]
fn of_stock_minions_only_what_can_be_known_is_said() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Salt3006);
    let mut first = fleet.master("m1", "");
    let second = fleet.master("m2", "");
    first.start();
    let failover = "master_type: failover\nmaster_alive_interval: 5\nretry_dns: 0";
    let mut two = fleet.minion("two", &[&first, &second], failover);
    let mut one = fleet.minion("one", &[&first], "");
    for minion in [&two, &one] {
        let public = minion.make_keys(&first);
        first.preseed(&minion.id, &public);
    }
    two.start();
    one.start();
    first.wait_ping("two");
    first.wait_ping("one");
    let fleet = wait_fleet(&first, "the answers of the stock minions", |_, fleet| {
        ["one", "two"].iter().all(|id| {
            let why = fleet["minions"][id]["why"].as_str().unwrap_or_default();
            why.starts_with("stock minion") && !why.contains("did not answer")
        })
    });
    assert_eq!(fleet["summary"]["stock"], 2);
    assert_eq!(fleet["minions"]["one"]["state"], "would be lost", "{fleet}");
    let two = &fleet["minions"]["two"];
    assert_eq!(two["state"], "unknown", "{fleet}");
    assert!(two["why"].as_str().unwrap().contains("2 masters"), "{fleet}");
    assert_eq!(fleet["would_be_lost"], json!(["one"]));
    let table = first.run("salt-run", &["manage.failover", "only=stock"]);
    assert_eq!(table.code, 1);
    assert!(table.stdout.contains("cannot be known"), "{}", table.stdout);
}
