//! Our command-line tools as a user meets them; where real Salt's tool can do the same on the
//! same files, its output is the expectation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use saltern_interop::{Fleet, Master, Output, Peer, saltern, wait};
use serde_json::json;

fn pair() -> (Fleet, Master, saltern_interop::Minion) {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, minion) = fleet.pair("", "");
    (fleet, master, minion)
}

#[test]
fn links_are_the_programs() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let dir = fleet.root().join("bin");
    let made = Output::of(command(&["links", dir.to_str().unwrap()]));
    assert_eq!(made.code, 0, "{made:?}");
    for name in
        ["salt-master", "salt-minion", "salt", "salt-key", "salt-call", "salt-run", "salt-cp"]
    {
        let mut link = Command::new(dir.join(name));
        link.arg("--version");
        let output = Output::of(link);
        assert!(output.code == 0 && output.stdout.starts_with(name), "{name}: {output:?}");
    }
    let again = Output::of(command(&["links", dir.to_str().unwrap()]));
    assert_eq!(again.code, 0, "links can be made again: {again:?}");
    fs::remove_file(dir.join("salt")).unwrap();
    fs::write(dir.join("salt"), "somebody's program").unwrap();
    let kept = Output::of(command(&["links", dir.to_str().unwrap()]));
    assert!(kept.code == 1 && kept.stderr.contains("--force"), "{kept:?}");
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(saltern());
    command.args(args);
    command
}

/// The same keys, the same questions, both tools: the same words and exit codes.
#[test]
fn salt_key_says_what_salts_tool_says() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let ours = Master::prepare(Peer::Saltern, &fleet.root().join("ours"), "");
    let theirs = Master::prepare(Peer::Salt3006, &fleet.root().join("theirs"), "");
    let dir = fleet.root().join("keys");
    fs::create_dir_all(&dir).unwrap();
    let made = ours.run("salt-key", &["--gen-keys", "k", "--gen-keys-dir", dir.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    let key = dir.join("k.pub");
    for master in [&ours, &theirs] {
        // Real Salt's tool wants these to be there when it deletes.
        fs::create_dir_all(master.root().join("cache")).unwrap();
        for (state, ids) in [
            ("minions", &["acc", "web1"][..]),
            ("minions_pre", &["new", "web2", "x"]),
            ("minions_rejected", &["bad"]),
            ("minions_denied", &["acc"]),
        ] {
            fs::create_dir_all(master.pki().join(state)).unwrap();
            for id in ids {
                fs::copy(&key, master.pki().join(state).join(id)).unwrap();
            }
        }
    }
    let steps: &[&[&str]] = &[
        &["-L"],
        &["-l", "un"],
        &["-l", "acc"],
        &["-l", "rej"],
        &["-l", "den"],
        &["-l", "all"],
        &["-L", "--out", "json"],
        &["-L", "--out", "yaml"],
        &["-L", "--out", "txt"],
        &["-L", "--out", "raw"],
        &["-p", "new"],
        &["-f", "web*"],
        &["-F"],
        &["-F", "--out", "json"],
        &["-p", "nobody"],
        &["-y", "-a", "new"],
        &["-y", "-a", "nobody"],
        &["-y", "-a", "web*"],
        &["-y", "-a", "bad"],
        &["-y", "-a", "bad", "--include-rejected"],
        &["-y", "-r", "x"],
        &["-y", "-r", "acc"],
        &["-y", "-r", "web1", "--include-accepted"],
        &["-y", "-R"],
        &["-L"],
        &["-y", "-A", "--include-all"],
        &["-l", "acc"],
        &["-l", "nonsense"],
    ];
    for step in steps {
        let (a, b) = (ours.run("salt-key", step), theirs.run("salt-key", step));
        assert_eq!(
            (a.code, &a.stdout),
            (b.code, &b.stdout),
            "salt-key {step:?}: {}{}",
            a.stderr,
            b.stderr
        );
    }
    let gone = ours.run("salt-key", &["-y", "-d", "new"]);
    assert!(gone.stdout.contains("Key for minion new deleted."), "{gone:?}");
    let all = ours.run("salt-key", &["-y", "-D"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(ours.keys("minions").is_empty());
}

#[test]
fn private_keys_are_private_whatever_the_umask() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "master_sign_pubkey: True");
    let script = format!(
        "umask 000; exec {} key -c {} --gen-keys k --gen-keys-dir {}",
        saltern().display(),
        master.conf().display(),
        fleet.root().display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    assert_eq!(Output::of(shell).code, 0);
    master.start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fleet.root().join("k.pem")), 0o400);
    for key in ["master.pem", "master_sign.pem"] {
        assert_eq!(mode(&master.pki().join(key)), 0o400, "{key}");
    }
    assert_eq!(mode(&master.pki()), 0o700);
}

/// R13: stock minions verify the signature files that our tool makes.
#[test]
fn a_stock_minion_verifies_our_signature_file() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Salt3006);
    let mut master = fleet.master("m1", "");
    master.start();
    master.process().stop();
    let made = master.run("salt-key", &["--gen-signature", "--auto-create"]);
    assert_eq!(made.code, 0, "{made:?}");
    fs::write(
        master.conf().join("master.d/sign.conf"),
        "master_sign_pubkey: True\nmaster_use_pubkey_signature: True\n\
         master_pubkey_signature: master_pubkey_signature\n",
    )
    .unwrap();
    let mut minion = fleet.minion("min", &[&master], "verify_master_pubkey_sign: True");
    let public = minion.make_keys(&master);
    master.preseed("min", &public);
    fs::copy(master.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    master.start();
    minion.start();
    master.wait_ping("min");
}

#[test]
fn salt_shows_results_as_salt_does() {
    let (_fleet, master, _minion) = pair();
    let run = |args: &[&str]| master.run("salt", args);
    assert_eq!(run(&["*", "test.ping"]).stdout, "min:\n    True\n");
    assert_eq!(run(&["*", "test.ping", "--out", "txt"]).stdout, "min: True\n");
    assert_eq!(run(&["*", "test.ping", "--out", "json"]).stdout, "{\n    \"min\": true\n}\n");
    assert_eq!(run(&["*", "test.ping", "--out", "yaml"]).stdout, "min: true\n");
    assert_eq!(run(&["*", "test.ping", "--out", "raw"]).stdout, "{'min': True}\n");
    assert_eq!(run(&["*", "test.ping", "--out", "quiet"]).stdout, "");
    let nested = run(&["*", "test.arg", "a", "b=[1, {c: null}]"]).stdout;
    assert!(
        nested.starts_with("min:\n    ----------\n    args:\n        - a\n    kwargs:\n"),
        "{nested}"
    );
    let verbose = run(&["-v", "*", "test.ping"]).stdout;
    assert!(verbose.starts_with("Executing job with jid 20") && verbose.contains("min:\n    True"));
    assert!(run(&["--show-jid", "*", "test.ping"]).stdout.starts_with("jid: 20"));
    let summary = run(&["--summary", "*", "test.ping"]).stdout;
    assert!(summary.contains("# of minions returned: 1\n"), "{summary}");
    let batch = run(&["-b", "1", "*", "test.ping"]).stdout;
    assert!(
        batch.contains("Executing run on ['min']") && batch.contains("min:\n    True"),
        "{batch}"
    );
    assert_eq!(run(&["--subset", "1", "*", "test.ping", "--out", "txt"]).stdout, "min: True\n");
    let unknown = run(&["-L", "min,ghost", "test.ping"]);
    assert!(
        unknown.code == 1 && unknown.stdout.contains("ghost:\n    Minion did not return."),
        "{unknown:?}"
    );
    let nobody = run(&["ghost", "test.ping", "--out", "json"]);
    assert!(nobody.code == 2 && nobody.stdout.ends_with("jid was assigned.\n{}\n"), "{nobody:?}");
    assert_eq!(run(&["-N", "none", "test.ping"]).code, 2);
    assert_eq!(run(&["min"]).code, 42);
    assert_eq!(run(&["min", "test.ping", "--nonsense"]).code, 64);
    assert_eq!(run(&["min", "test.false"]).code, 0);
    assert_eq!(run(&["min", "test.ping", "--out", "nonsense"]).stdout, "min:\n    True\n");
    let compound = master.salt(&["*", "test.echo,test.ping", "hi", ","]);
    assert_eq!(compound, json!({"min": {"test.echo": "hi", "test.ping": true}}));
    let doc = run(&["*", "-d", "test.ping"]).stdout;
    assert!(doc.starts_with("test.ping:\n"), "{doc}");
    let failed = run(&["*", "test.retcode", "5"]);
    assert_eq!(
        (failed.code, failed.stderr.as_str()),
        (1, "ERROR: Minions returned with non-zero exit code\n")
    );
    let file = master.root().join("result.json");
    let path = file.to_str().unwrap();
    assert_eq!(run(&["*", "test.ping", "--out", "json", "--out-file", path]).stdout, "");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\n    \"min\": true\n}\n");
}

/// Longer than an event may be: the tools have it from the job cache.
#[test]
fn large_returns_are_shown_whole() {
    let (_fleet, master, _minion) = pair();
    let large = "head -c 3000000 /dev/zero | tr '\\0' x";
    assert_eq!(master.salt(&["min", "cmd.run", large])["min"].as_str().unwrap().len(), 3_000_000);
    let jobs = master.run("salt-run", &["--out", "json", "jobs.list_jobs"]).json();
    let jid = jobs
        .as_object()
        .unwrap()
        .iter()
        .find(|(_, job)| job["Function"] == json!("cmd.run"))
        .map(|(jid, _)| jid.clone())
        .unwrap();
    assert_eq!(lookup(&master, &jid)["min"].as_str().unwrap().len(), 3_000_000);
}

#[test]
fn an_interrupted_wait_says_where_the_results_will_be() {
    let (_fleet, master, _minion) = pair();
    let mut tool = master.tool("salt");
    tool.args(["-t", "60", "-v", "min", "test.sleep", "60"]);
    let mut tool =
        saltern_interop::Program::start("salt", tool, &master.root().join("interrupted"));
    wait::until("the job", || tool.printed().contains("Executing job with jid").then_some(()));
    tool.signal_leader("INT");
    wait::until("the end", || (!tool.is_running()).then_some(()));
    let printed = tool.printed();
    assert!(printed.contains("Exiting gracefully on Ctrl-c"), "{printed}");
    assert!(printed.contains("salt-run jobs.lookup_jid 20"), "{printed}");
}

#[test]
fn without_a_master_the_tools_say_so() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = fleet.master("m1", "");
    for (tool, args) in [
        ("salt", &["*", "test.ping"][..]),
        ("salt-run", &["manage.status"]),
        ("salt-run", &["state.event"]),
        ("salt-cp", &["*", "/etc/hostname", "/tmp/x"]),
    ] {
        let output = master.run(tool, args);
        assert!(output.code != 0 && output.stdout.is_empty(), "{tool}: {output:?}");
        assert!(output.stderr.contains("running"), "{tool}: {output:?}");
    }
    let keys = master.run("salt-key", &["-L"]);
    assert_eq!(keys.code, 0, "keys are managed without a master: {keys:?}");
}

#[test]
fn jobs_are_found_again() {
    let (_fleet, mut master, _minion) = pair();
    let started = master.run("salt", &["--async", "*", "cmd.run", "echo kept; exit 3"]);
    let jid = started.stdout.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(started.stdout, format!("Executed command with job ID: {jid}\n"));
    wait::until("the return", || lookup(&master, &jid).get("min").is_some().then_some(()));
    let before = lookup(&master, &jid);
    assert_eq!(before, json!({"min": "kept"}));
    // A crash at any moment loses nothing that was stored.
    master.process().kill();
    master.start();
    assert_eq!(lookup(&master, &jid), before);
    let jobs = master.run("salt-run", &["--out", "json", "jobs.list_jobs"]).json();
    let job = &jobs[&jid];
    assert_eq!(
        (&job["Function"], &job["Target"], &job["Target-type"]),
        (&json!("cmd.run"), &json!("*"), &json!("glob")),
        "{job}"
    );
    let one = master.run("salt-run", &["--out", "json", "jobs.list_job", &jid]).json();
    assert_eq!(one["Result"]["min"]["retcode"], json!(3), "{one}");
    let exit = master.run("salt-run", &["--out", "json", "jobs.exit_success", &jid]).json();
    // As in Salt: whether the value is true, not the exit code.
    assert_eq!(exit, json!({"min": true}));
}

fn lookup(master: &Master, jid: &str) -> serde_json::Value {
    master.run("salt-run", &["--out", "json", "jobs.lookup_jid", jid]).json()
}

#[test]
fn salt_cp_copies_files_and_directories() {
    let (fleet, master, _minion) = pair();
    let source = fleet.root().join("src");
    fs::create_dir_all(source.join("deep")).unwrap();
    fs::write(source.join("a.txt"), "text\n").unwrap();
    let binary: Vec<u8> = (0..300_000u32).map(|i| (i * 31 % 256) as u8).collect();
    fs::write(source.join("deep/b.bin"), &binary).unwrap();
    let path = |p: &str| fleet.root().join(p).display().to_string();
    let text = master.run("salt-cp", &["--out", "json", "*", &path("src/a.txt"), &path("a.copy")]);
    assert_eq!(text.code, 0, "{text:?}");
    assert_eq!(fs::read_to_string(path("a.copy")).unwrap(), "text\n");
    let tree = master.run("salt-cp", &["--chunked", "*", &path("src"), &path("dest")]);
    assert_eq!(tree.code, 0, "{tree:?}");
    assert_eq!(fs::read(path("dest/src/deep/b.bin")).unwrap(), binary);
}

#[test]
fn configuration_errors_name_file_line_and_option() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let master = fleet.master("m1", "timeout: 7");
    let drop_in = master.conf().join("master.d/x.conf");
    fs::write(&drop_in, "# a comment\nret_port: [1, 2]\n").unwrap();
    let wrong = master.run("salt-key", &["-L"]);
    assert_ne!(wrong.code, 0);
    for part in ["x.conf", "line 2", "ret_port", "port number"] {
        assert!(wrong.stderr.contains(part), "{part}: {}", wrong.stderr);
    }
    fs::write(&drop_in, "worker_treads: 3\n").unwrap();
    let mut daemon = master.tool("salt-master");
    daemon.args(["-l", "warning"]);
    let mut program =
        saltern_interop::Program::start("salt-master", daemon, &master.root().join("out"));
    wait::until("the warning", || program.printed().contains("worker_threads").then_some(()));
    let warnings = program.printed().lines().filter(|l| l.contains("worker_treads")).count();
    assert_eq!(warnings, 1);
    program.stop();
    fs::write(&drop_in, "a: [1\n").unwrap();
    let broken = master.run("salt-key", &["-L"]);
    assert!(broken.code != 0 && broken.stderr.contains("x.conf"), "{broken:?}");
    fs::remove_file(drop_in).unwrap();
    let explained = Output::of(command(&[
        "config",
        "-c",
        master.conf().to_str().unwrap(),
        "--master",
        "--explain",
        "timeout",
    ]));
    for part in ["value:   7", "conf/master line", "default: 5"] {
        assert!(explained.stdout.contains(part), "{part}: {}", explained.stdout);
    }
}

#[test]
fn the_demonstration_keeps_its_promise() {
    let output = Output::of(command(&["demo", "--json", "--minions", "3"]));
    assert_eq!(output.code, 0, "{output:?}");
    let report = output.json();
    assert_eq!(report["ok"], json!(true), "{report}");
    assert_eq!(report["returns"], report["minions_on_killed_master"]);
    assert_eq!(report["answering_after"], json!(3));
}
