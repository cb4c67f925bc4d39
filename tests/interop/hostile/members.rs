//! A minion whose key is accepted and which means ill, or whose key was deleted.

use std::path::{Path, PathBuf};
use std::process::Command;

use saltern_interop::{Fleet, Master, Minion, Output, Peer, Program, wait};
use serde_json::{Value, json};

use super::{files, script};

/// A master that serves an honest minion `min`, and has accepted the key of `evil`.
struct Inside {
    master: Master,
    minion: Minion,
    evil: Minion,
    fleet: Fleet,
}

impl Inside {
    fn begin(master_extra: &str) -> Self {
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let (master, minion) = fleet.pair(master_extra, "");
        let evil = fleet.minion("evil", &[&master], "");
        let public = evil.make_keys(&master);
        master.preseed("evil", &public);
        Inside { master, minion, evil, fleet }
    }

    fn state(&self) -> PathBuf {
        self.evil.root().join("state")
    }

    fn does(&self, case: &str) -> Value {
        let mut command = script("member.py");
        command.arg(self.master.address.to_string()).arg("evil");
        command.arg(self.evil.pki().join("minion.pem")).arg(self.state()).arg(case);
        let output = Output::of(command);
        assert_eq!(output.code, 0, "{output:?}");
        output.json()
    }

    /// What the tools see on the master's bus, from now on.
    fn listen(&self) -> Program {
        let mut command: Command = self.master.tool("salt-run");
        command.args(["state.event", "pretty=False"]);
        let program = Program::start("salt-run", command, &self.fleet.root().join("events"));
        // It listens once it has seen something.
        wait::until("the listener", || {
            self.master.run("salt-run", &["event.send", "my/listening"]);
            program.printed().contains("my/listening").then_some(())
        });
        program
    }

    fn still_serves(mut self) {
        assert!(self.master.process().is_running());
        assert_eq!(self.master.salt(&["min", "test.ping"]), json!({"min": true}));
        assert!(self.minion.process().is_running());
    }
}

fn each(replies: &Value) -> impl Iterator<Item = (&String, &Value)> {
    replies.as_object().unwrap().iter()
}

/// Nothing that a handler has to say: refused in the clear, or sealed emptiness.
fn is_nothing(reply: &Value) -> bool {
    let empty = [json!(""), json!({}), json!(false), json!(null), json!([])];
    reply == "bad load" || reply.get("sealed").is_some_and(|value| empty.contains(value))
}

#[test]
fn a_deleted_minions_old_session_is_refused_at_once() {
    let inside = Inside::begin("");
    assert_eq!(inside.does("envs"), json!({"sealed": ["base"]}));
    assert_eq!(inside.master.run("salt-key", &["-y", "-d", "evil"]).code, 0);
    assert_eq!(inside.does("envs"), json!("bad load"));
    for (case, reply) in each(&inside.does("returns")) {
        assert_eq!(reply, "bad load", "{case}");
    }
    inside.still_serves();
}

#[test]
fn no_command_serves_one_minion_in_the_name_of_another() {
    let inside = Inside::begin("");
    for (case, reply) in each(&inside.does("impersonate")) {
        assert_eq!(reply, "bad load", "{case}");
    }
    inside.still_serves();
}

#[test]
fn events_of_a_minion_cannot_be_the_masters() {
    let inside = Inside::begin("");
    let events = inside.listen();
    inside.does("events");
    wait::until("the event it may send", || events.printed().contains("my/own").then_some(()));
    assert!(!events.printed().contains("forged\": true"), "{}", events.printed());
    assert!(!events.printed().contains("salt/job/x"), "{}", events.printed());
    drop(events);
    inside.still_serves();
}

#[test]
fn job_ids_that_are_paths_are_refused() {
    let inside = Inside::begin("");
    inside.does("envs");
    let before = files(inside.fleet.root());
    for (case, reply) in each(&inside.does("returns")) {
        assert!(is_nothing(reply), "{case}: {reply}");
    }
    assert_eq!(files(inside.fleet.root()), before);
    assert!(!Path::new("/tmp/evil").exists());
    inside.still_serves();
}

#[test]
fn paths_lead_out_of_no_directory() {
    let inside = Inside::begin("file_recv: True\nfileserver_followsymlinks: False");
    let root = inside.master.root().to_path_buf();
    std::os::unix::fs::symlink("/etc", root.join("srv/salt/link")).unwrap();
    inside.does("envs");
    let before = files(inside.fleet.root());
    for (case, reply) in each(&inside.does("files")) {
        let text = reply.to_string();
        assert!(!text.contains("BEGIN") && !text.contains("root:"), "{case}: {reply}");
        assert!(!text.contains("interface:"), "{case}: {reply}");
        assert_ne!(reply, "no reply", "{case}");
        if case.starts_with("recv") {
            assert!(is_nothing(reply), "{case}: {reply}");
        }
    }
    assert_eq!(files(inside.fleet.root()), before, "written");
    assert!(!Path::new("/tmp/evil").exists());
    inside.still_serves();
}

#[test]
fn a_recorded_request_does_nothing_again_not_even_after_a_restart() {
    let mut inside = Inside::begin("");
    let events = inside.listen();
    let replies = inside.does("record");
    assert_eq!(replies["first"], json!({"sealed": null}), "{replies}");
    assert_eq!(replies["second"], "bad load");
    assert_eq!(replies["third"], "bad load");
    wait::until("the event of the first", || {
        events.printed().contains("\nmy/recorded").then_some(())
    });
    drop(events);
    inside.master.process().kill();
    inside.master.start();
    inside.master.wait_ping("min");
    let events = inside.listen();
    assert_eq!(inside.does("replay"), json!({"again": "bad load"}));
    inside.does("events");
    wait::until("the event after it", || events.printed().contains("my/own").then_some(()));
    // Seen once, by the listener before the restart.
    let seen = events.printed().matches("\nmy/recorded").count();
    assert_eq!(seen, 1, "{}", events.printed());
    drop(events);
    inside.still_serves();
}

#[test]
fn old_requests_are_refused_where_a_ttl_is_set() {
    let inside = Inside::begin("request_server_ttl: 60");
    let replies = inside.does("old");
    assert_eq!(replies["old"], "bad load", "{replies}");
    assert_eq!(replies["none"], "bad load", "{replies}");
    assert_eq!(replies["new"], json!({"sealed": ["base"]}), "{replies}");
    inside.still_serves();
}

#[test]
fn a_minion_writes_nowhere_but_in_its_cache() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, minion) = fleet.pair("file_recv: True", "");
    std::fs::write(master.root().join("srv/salt/a"), "text").unwrap();
    std::fs::write(master.root().join("srv/evil"), "text").unwrap();
    let outside = || -> Vec<PathBuf> {
        let inner = [minion.root().join("cache/files"), minion.root().join("cache/extrn_files")];
        let kept = |path: &PathBuf| !inner.iter().any(|dir| path.starts_with(dir));
        files(fleet.root()).into_iter().filter(kept).collect()
    };
    minion.call(&["cp.cache_file", "salt://a"]);
    let before = outside();
    for path in [
        "salt://../evil",
        "salt://a/../../evil",
        "salt:///etc/passwd",
        "salt://|../evil",
        "salt://../../../../etc/passwd",
    ] {
        for fun in ["cp.cache_file", "cp.get_file_str", "cp.hash_file"] {
            let output = minion.call(&[fun, path, "--out", "json"]);
            assert!(!output.stdout.contains("root:x"), "{fun} {path}: {output:?}");
            let none = ["false", "\"\"", "{}", "null"];
            assert!(none.iter().any(|n| output.stdout.contains(n)), "{fun} {path}: {output:?}");
        }
    }
    for path in ["../../evil", "/etc/evil", "a/../../../../evil"] {
        let pushed = format!("upload_path={path}");
        minion.call(&["cp.push", "/etc/hostname", &pushed, "--out", "json"]);
    }
    let mut after = outside();
    // What it may push stays below the master's directory for this minion.
    after.retain(|path| !path.starts_with(master.root().join("cache/minions/min/files")));
    assert_eq!(after, before);
}

#[test]
fn yaml_builds_no_objects() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, minion) = fleet.pair("", "");
    let trace = fleet.root().join("trace");
    let pillar = master.root().join("srv/pillar");
    std::fs::write(pillar.join("top.sls"), "base: {'*': [evil]}\n").unwrap();
    let text = format!("a: !!python/object/apply:os.system ['touch {}']\n", trace.display());
    std::fs::write(pillar.join("evil.sls"), &text).unwrap();
    let output = minion.call(&["pillar.items", "--out", "json"]);
    assert!(!output.stdout.contains("\"a\""), "{output:?}");
    std::fs::write(minion.conf().join("minion.d/evil.conf"), &text).unwrap();
    let output = minion.call(&["--local", "test.ping"]);
    assert_ne!(output.code, 0, "{output:?}");
    std::fs::write(master.conf().join("master.d/evil.conf"), &text).unwrap();
    assert_ne!(master.run("salt-key", &["-L"]).code, 0);
    assert!(!trace.exists());
}

#[test]
fn keys_are_not_named_by_paths() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, _minion) = fleet.pair("", "");
    std::fs::write(master.pki().join("minions_pre/ok"), "x").unwrap();
    let before = files(fleet.root());
    for id in ["../master.pub", "../../conf/master", "/etc/passwd", "minions/../../x", "..", "."] {
        for flag in ["-a", "-d", "-r", "-p", "-f"] {
            let output = master.run("salt-key", &["-y", flag, id]);
            let text = format!("{}{}", output.stdout, output.stderr);
            assert!(!text.contains("root:") && !text.contains("interface"), "{flag} {id}: {text}");
        }
    }
    assert_eq!(files(fleet.root()), before);
}
