//! What a minion asks of its master at work, and what an operator asks of a minion: files, pillar,
//! mine, events, running jobs, `salt-call`; on every pair in which one side is ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../services/exchanged.rs"]
mod exchanged;
#[path = "../services/health.rs"]
mod health;

use std::fs;
use std::process::Stdio;

use saltern_interop::{Fleet, Master, Peer, Program, wait};
use serde_json::json;

fn files(fleet: &Fleet) {
    let (master, minion) = fleet.pair("", "");
    let srv = master.root().join("srv/salt");
    fs::create_dir_all(srv.join("sub/deep")).unwrap();
    fs::write(srv.join("hello.txt"), "hällo\n").unwrap();
    let large: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    fs::write(srv.join("sub/deep/large.bin"), &large).unwrap();
    std::os::unix::fs::symlink("hello.txt", srv.join("link")).unwrap();
    let text = master.salt(&["min", "cp.get_file_str", "salt://hello.txt"]);
    assert_eq!(text, json!({"min": "hällo\n"}));
    let dest = minion.root().join("got.bin");
    let dest_text = dest.display().to_string();
    let got = master.salt(&["min", "cp.get_file", "salt://sub/deep/large.bin", &dest_text]);
    assert_eq!(got["min"], json!(dest_text));
    assert_eq!(fs::read(&dest).unwrap(), large);
    let list = master.salt(&["min", "cp.list_master"]);
    assert_eq!(list["min"], json!(["hello.txt", "link", "sub/deep/large.bin"]));
    let hash = master.salt(&["min", "cp.hash_file", "salt://hello.txt"]);
    assert_eq!(hash["min"]["hash_type"], "sha256");
    for path in
        ["salt://../pki/master.pem", "salt:///etc/passwd", "salt://sub/../../../pki/master.pem"]
    {
        let escaped =
            master.run("salt", &["--out", "json", "--static", "min", "cp.get_file_str", path]);
        assert!(!escaped.stdout.contains("PRIVATE") && !escaped.stdout.contains("root:"), "{path}");
    }
}

fn pillar(fleet: &Fleet) {
    let (master, _minion) = fleet.pair("pillar_opts: False", "");
    let roots = master.root().join("srv/pillar");
    fs::write(
        roots.join("top.sls"),
        "base:\n  '*':\n    - all\n  'G@kernel:Linux and m*':\n    - match: compound\n    - sub.linux\n  other:\n    - secret\n",
    )
    .unwrap();
    fs::write(roots.join("all.sls"), "site: here\nnested: {a: 1, b: [x, y]}\nmode: 0644\n")
        .unwrap();
    fs::create_dir_all(roots.join("sub")).unwrap();
    fs::write(roots.join("sub/linux.sls"), "nested: {c: yes}\n").unwrap();
    fs::write(roots.join("secret.sls"), "password: not-for-min\n").unwrap();
    assert_eq!(master.salt(&["min", "saltutil.refresh_pillar"])["min"], json!(true));
    // 3008 minions mask text values in what they return; `pillar.get` of numbers is plain.
    wait::until("the new pillar", || {
        (master.salt(&["min", "pillar.get", "nested:a"])["min"] == json!(1)).then_some(())
    });
    assert_eq!(master.salt(&["min", "pillar.get", "nested:c"])["min"], json!(true));
    assert_eq!(master.salt(&["min", "pillar.get", "mode"])["min"], json!(644));
    let items = master.salt(&["min", "pillar.items"]);
    let mut names: Vec<_> = items["min"].as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["mode", "nested", "site"]);
    assert_eq!(master.salt(&["-I", "site:here", "test.ping"]), json!({"min": true}));
}

fn mine_and_events(fleet: &Fleet) {
    let (master, _minion) = fleet.pair("", "");
    let mut listen = master.tool("salt-run");
    listen.args(["state.event", "my/*", "count=1"]);
    let listener = listen.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(master.salt(&["min", "mine.send", "test.echo", "dug up"])["min"], json!(true));
    wait::until("the mine", || {
        let got = master.salt(&["min", "mine.get", "*", "test.echo"]);
        (got["min"] == json!({"min": "dug up"})).then_some(())
    });
    // The listener may not be connected yet: events are sent until it has one and ends.
    let mut listener = listener;
    wait::until("an event of the minion on the master's bus", || {
        master.salt(&["min", "event.send", "my/tag", "{answer: 42}"]);
        listener.try_wait().unwrap()
    });
    let mut text = String::new();
    std::io::Read::read_to_string(&mut listener.stdout.take().unwrap(), &mut text).unwrap();
    // Real Salt prints the runner's own return (nothing) on a second line.
    let line = text.lines().next().unwrap_or_default();
    let (tag, data) = line.split_once('\t').unwrap_or_else(|| panic!("one line: {text:?}"));
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((tag, &data["id"]), ("my/tag", &json!("min")));
    assert_eq!(data["data"]["answer"], json!(42));
}

fn running_jobs(fleet: &Fleet) {
    let (master, minion) = fleet.pair("", "");
    for (end, signal) in [("saltutil.term_job", "Signal 15"), ("saltutil.kill_job", "Signal 9")] {
        let marker = minion.root().join(signal.replace(' ', ""));
        let command = format!("touch {}; sleep 300", marker.display());
        let output = master.run("salt", &["--async", "min", "cmd.run", &command]);
        let jid = output.stdout.split_whitespace().last().unwrap().to_owned();
        wait::until("the job to begin", || marker.exists().then_some(()));
        let found = master.salt(&["min", "saltutil.find_job", &jid]);
        assert_eq!(found["min"]["fun"], json!("cmd.run"), "{found}");
        assert_eq!(found["min"]["jid"], json!(jid));
        let ended = master.salt(&["min", end, &jid])["min"].to_string();
        assert!(ended.contains(signal), "{ended}");
        wait::until("the job to end", || {
            let found = master.salt(&["min", "saltutil.find_job", &jid]);
            (found["min"] == json!({})).then_some(())
        });
    }
}

fn call(fleet: &Fleet) {
    let (master, minion) = fleet.pair("", "");
    let srv = master.root().join("srv/salt");
    fs::write(srv.join("a.txt"), "from the master\n").unwrap();
    let output = minion.call(&["--out", "json", "cp.get_file_str", "salt://a.txt"]);
    assert_eq!(output.json(), json!({"local": "from the master\n"}), "{output:?}");
    let local = minion.call(&["--local", "--out", "json", "test.echo", "x"]);
    assert_eq!(local.json(), json!({"local": "x"}));
    let failed = minion.call(&["--out", "json", "--retcode-passthrough", "cmd.run", "exit 7"]);
    assert_eq!(failed.code, 7, "{failed:?}");
    let jobs = master.run("salt-run", &["--out", "json", "jobs.list_jobs"]);
    let jobs = jobs.json();
    let functions: Vec<_> =
        jobs.as_object().unwrap().values().map(|j| j["Function"].clone()).collect();
    assert!(functions.contains(&json!("cp.get_file_str")), "{functions:?}");
}

fn errors(fleet: &Fleet) {
    let (master, _minion) = fleet.pair("", "");
    let unknown = master.salt(&["min", "no.such"])["min"].to_string();
    assert!(unknown.contains("'no.such' is not available."), "{unknown}");
    let output = master.run("salt", &["min", "no.such"]);
    assert_eq!(output.code, 1, "{output:?}");
    let wrong = master.salt(&["min", "test.ping", "too", "many"])["min"].to_string();
    assert!(wrong.contains("test.ping"), "{wrong}");
    let nobody = master.run("salt", &["nobody", "test.ping"]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
    assert!(nobody.stdout.contains("No minions matched the target"), "{nobody:?}");
}

/// A real minion with our master has all of Salt's state modules at once.
fn state(fleet: &Fleet) {
    if fleet.minion_peer == Peer::Saltern {
        return state_is_refused_clearly(fleet);
    }
    let (master, minion) = fleet.pair("", "");
    let srv = master.root().join("srv/salt");
    fs::create_dir_all(srv.join("web/files")).unwrap();
    let dest = minion.root().join("conf.txt");
    fs::write(
        srv.join("web/init.sls"),
        format!(
            "{{% set name = grains['id'] %}}\nconf:\n  file.managed:\n    - name: {}\n    \
             - source: salt://web/files/conf.jinja\n    - template: jinja\n    \
             - context: {{who: {{{{ name }}}}}}\n",
            dest.display()
        ),
    )
    .unwrap();
    fs::write(srv.join("web/files/conf.jinja"), "I am {{ who }} of {{ pillar.get('x', 'y') }}\n")
        .unwrap();
    fs::write(srv.join("top.sls"), "base:\n  '*':\n    - web\n").unwrap();
    let run = master.salt(&["min", "state.highstate"]);
    let states = run["min"].as_object().unwrap_or_else(|| panic!("{run}"));
    assert!(states.values().all(|s| s["result"] == json!(true)), "{run}");
    assert_eq!(fs::read_to_string(dest).unwrap(), "I am min of y\n");
}

fn state_is_refused_clearly(fleet: &Fleet) {
    let (master, _minion) = fleet.pair("", "");
    let output = master.run("salt", &["min", "state.apply"]);
    assert_eq!(output.code, 1, "{output:?}");
}

/// The master's own view after a stock minion came and went.
fn status(fleet: &Fleet) {
    let (master, mut minion) = fleet.pair("", "");
    let up = manage(&master, 60);
    assert_eq!((&up["up"], &up["down"]), (&json!(["min"]), &json!([])), "{up}");
    minion.process().kill();
    let down = manage(&master, 3);
    assert_eq!((&down["up"], &down["down"]), (&json!([]), &json!(["min"])), "{down}");
    let missing = master.run("salt", &["-t", "1", "min", "test.ping"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stdout.contains("Minion did not return."), "{missing:?}");
}

/// Who answers within `patience` seconds; it ends as soon as all do.
fn manage(master: &Master, patience: u32) -> serde_json::Value {
    let [timeout, gather] = ["timeout", "gather_job_timeout"].map(|o| format!("{o}={patience}"));
    master.run("salt-run", &["--out", "json", "manage.status", &timeout, &gather]).json()
}

fn stop(fleet: &Fleet) {
    let (mut master, mut minion) = fleet.pair("", "");
    let ours = |program: &mut Program| {
        let (status, _) = program.stop();
        assert!(status.success(), "SIGTERM ends our daemons with status 0, not {status}");
    };
    if fleet.minion_peer == Peer::Saltern {
        ours(minion.process());
        minion.start();
        master.wait_ping("min");
    }
    if fleet.master_peer == Peer::Saltern {
        ours(master.process());
        master.start();
        master.wait_ping("min");
    }
}

macro_rules! services {
    ($($pair:ident: $master:ident, $minion:ident;)*) => {$(
        mod $pair {
            use super::{Fleet, Peer};

            fn fleet() -> Fleet {
                Fleet::new(Peer::$master, Peer::$minion)
            }

            scenarios!(files, pillar, mine_and_events, running_jobs, call, errors, state, status, stop);
        }
    )*};
}

macro_rules! scenarios {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            super::$name(&fleet());
        }
    )*};
}

services! {
    our_master_our_minion: Saltern, Saltern;
    our_master_minion_3006: Saltern, Salt3006;
    our_master_minion_3008: Saltern, Salt3008;
    master_3006_our_minion: Salt3006, Saltern;
    master_3008_our_minion: Salt3008, Saltern;
}
