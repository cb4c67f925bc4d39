//! Bad input against our master from those who own no key.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use saltern_interop::{Fleet, Master, Minion, Output, Peer, Program, wait};
use serde_json::{Value, json};

use super::{files, script};

struct Siege {
    master: Master,
    minion: Minion,
    before: BTreeSet<PathBuf>,
    _fleet: Fleet,
}

impl Siege {
    /// A master that serves one minion.
    fn begin() -> Self {
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let (master, minion) = fleet.pair("", "");
        let before = files(master.root());
        Siege { master, minion, before, _fleet: fleet }
    }

    fn throw(&self, case: &str) -> Value {
        let public = fs::read_to_string(self.minion.pki().join("minion.pub")).unwrap();
        let mut command = script("strangers.py");
        command.arg(self.master.address.to_string()).arg(case).arg(public.trim());
        let output = Output::of(command);
        assert_eq!(output.code, 0, "{output:?}");
        output.json()
    }

    /// The service is as it was, and nothing was written but logs and the job of this check.
    fn end(mut self) {
        assert!(self.master.process().is_running());
        assert_eq!(self.master.salt(&["min", "test.ping"]), json!({"min": true}));
        let new: Vec<_> = files(self.master.root()).difference(&self.before).cloned().collect();
        assert!(new.is_empty(), "written by strangers: {new:?}");
        assert_eq!(self.master.keys("minions"), ["min"]);
    }
}

fn all_are(replies: &Value, allowed: &[Value]) {
    for (case, reply) in replies.as_object().unwrap() {
        assert!(allowed.contains(reply), "{case}: {reply}");
    }
}

#[test]
fn malformed_requests_get_salts_answer() {
    let siege = Siege::begin();
    let replies = siege.throw("malformed");
    all_are(
        &replies,
        &[json!("bad load"), json!({"msg": "bad load"}), json!("payload and load must be a dict")],
    );
    siege.end();
}

#[test]
fn unknown_encodings_are_refused() {
    let siege = Siege::begin();
    all_are(&siege.throw("enc"), &[json!("bad load")]);
    siege.end();
}

#[test]
fn downgraded_requests_are_refused() {
    let siege = Siege::begin();
    let mut replies = siege.throw("versions");
    let good = replies.as_object_mut().unwrap().remove("3").unwrap();
    assert_eq!(good["cmd"], "ping");
    all_are(&replies, &[json!("bad load")]);
    siege.end();
}

#[test]
fn no_method_answers_without_authentication() {
    let siege = Siege::begin();
    all_are(&siege.throw("names"), &[json!({})]);
    siege.end();
}

#[test]
fn sealed_requests_that_do_not_open_leave_no_trace() {
    let siege = Siege::begin();
    all_are(&siege.throw("sealed"), &[json!("bad load")]);
    assert!(!siege.master.root().join("cache/sessions/ghost").exists());
    siege.end();
}

#[test]
fn wrong_ids_are_refused_everywhere() {
    let siege = Siege::begin();
    let replies = siege.throw("ids");
    for (case, reply) in replies.as_object().unwrap() {
        // Refusals in sentences, or a signed `ret: false`; never a pending key.
        let text = reply.as_str().unwrap_or_default();
        let refused = text.starts_with("bad load") || text.starts_with("payload");
        let signed = reply.get("sig").is_some();
        assert!(refused || signed, "{case}: {reply}");
    }
    siege.end();
}

#[test]
fn authentication_attempts_with_wrong_parts() {
    let siege = Siege::begin();
    let replies = siege.throw("auths");
    assert_eq!(replies["bad sig"]["load"]["ret"], "bad sig algo", "{replies}");
    for (case, reply) in replies.as_object().unwrap() {
        assert_ne!(reply, "no reply", "{case}");
    }
    // The only trace is the one pending key that was asked for properly.
    assert_eq!(siege.master.keys("minions_pre"), ["stranger"]);
    siege.master.run("salt-key", &["-y", "-d", "stranger"]);
    siege.end();
}

#[test]
fn publish_runner_and_wheel_need_the_key() {
    let siege = Siege::begin();
    let replies = siege.throw("commands");
    for (case, reply) in replies.as_object().unwrap() {
        let text = reply.to_string();
        let refused = text.contains("uthentication") || text.contains("uthoriz");
        let nothing = ["{}", "\"\"", "\"bad load\"", "false"].contains(&text.as_str());
        assert!(refused || nothing, "{case}: {reply}");
    }
    siege.end();
}

#[test]
fn ten_thousand_malformed_packets_do_no_harm() {
    let siege = Siege::begin();
    let replies = siege.throw("flood");
    assert_eq!(replies["ping"]["cmd"], "ping", "{replies}");
    // One counted line, not one per packet.
    let log = fs::read_to_string(siege.master.root().join("log")).unwrap();
    let lines = log.lines().filter(|l| l.contains("bad load") || l.contains("refused")).count();
    assert!(lines < 100, "{lines} log lines for one flood");
    siege.end();
}

#[test]
fn garbage_below_zeromq_is_closed() {
    let siege = Siege::begin();
    let mut replies = siege.throw("raw");
    let ping = replies.as_object_mut().unwrap().remove("ping among 100 silent ones").unwrap();
    assert_eq!(ping["cmd"], "ping");
    all_are(&replies, &[json!("closed")]);
    siege.end();
}

/// Every minion and every stranger is a connection, and every connection an open file.
#[test]
fn the_limit_of_open_files_is_raised_or_complained_about() {
    let limit_and_log = |limits: &str| {
        let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
        let master = fleet.master("m1", "max_open_files: 3000");
        let accepted = master.pki().join("minions");
        fs::create_dir_all(&accepted).unwrap();
        for number in 0..90 {
            fs::write(accepted.join(format!("n{number}")), "").unwrap();
        }
        let tool = master.tool("salt-master");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]);
        shell.arg(tool.get_program()).args(tool.get_args());
        let program = Program::start("salt-master", shell, &fleet.root().join("out"));
        wait::until("the master", || master.address.answers(4506).then_some(()));
        let limits = fs::read_to_string(format!("/proc/{}/limits", program.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let soft = line.split_whitespace().nth(3).unwrap().to_owned();
        (soft, fs::read_to_string(master.root().join("log")).unwrap())
    };
    let near = "The number of accepted minion keys(90) should be lower than 1/4";
    let (soft, log) = limit_and_log("ulimit -S -n 256");
    assert_eq!(soft, "3000");
    assert!(!log.contains(near), "{log}");
    let (soft, log) = limit_and_log("ulimit -n 256");
    assert_eq!(soft, "256");
    assert!(log.contains(near) && log.contains("max_open_files: 3000 is more than"), "{log}");
}
