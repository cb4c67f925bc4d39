//! What must stay secret: in no log, and in no file that others may read.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use saltern_interop::{Fleet, Master, Minion, Peer, Program, wait};

const PILLAR: &str = "pillar-secret-5Xq";
const PASS: &str = "key-pass-secret-8Kd";
const SIGNING_PASS: &str = "signing-pass-secret-2Lm";

/// A master and a minion with pillar and passphrases; not started yet.
fn with_secrets(fleet: &Fleet) -> (Master, Minion) {
    let master = fleet.master("m1", &format!("key_pass: {PASS}\nmaster_sign_pubkey: True\nsigning_key_pass: {SIGNING_PASS}\nauto_accept: True\nminion_data_cache: True"));
    let pillar = master.root().join("srv/pillar");
    fs::write(pillar.join("top.sls"), "base: {'*': [secret]}\n").unwrap();
    fs::write(pillar.join("secret.sls"), format!("password: {PILLAR}\n")).unwrap();
    let minion = fleet.minion("min", &[&master], "verify_master_pubkey_sign: True");
    (master, minion)
}

/// Lets both work with their secrets.
fn work(master: &Master) {
    master.wait_ping("min");
    let held = master.salt(&["min", "pillar.get", "password"]);
    assert_eq!(held["min"], PILLAR);
    for args in [["min", "saltutil.refresh_pillar"], ["min", "test.version"]] {
        assert!(master.salt(&args)["min"].as_str().is_none_or(|text| !text.contains("rror")));
    }
    master.run("salt-run", &["manage.status"]);
    master.run("salt-run", &["pillar.show_pillar", "min"]);
    master.run("salt-key", &["-L"]);
}

fn trust(master: &Master, minion: &Minion) {
    fs::copy(master.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
}

/// The texts of all private keys, root keys and session keys below a directory.
fn keys_below(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in super::files(root) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if text.contains("PRIVATE KEY") {
            // Any line of the body would be too much.
            found.extend(text.lines().filter(|l| l.len() == 64).map(str::to_owned));
        } else if name.ends_with("_key") || path.parent().is_some_and(|p| p.ends_with("sessions")) {
            found.insert(text.trim().to_owned());
        }
    }
    found
}

#[test]
fn no_log_has_a_secret() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (mut master, mut minion) = with_secrets(&fleet);
    super::log_everything(&master.conf().join("master.d"));
    super::log_everything(&minion.conf().join("minion.d"));
    master.start();
    trust(&master, &minion);
    minion.start();
    work(&master);
    let deleted = master.run("salt-key", &["-y", "-d", "min"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    let mut secrets = keys_below(fleet.root());
    assert!(secrets.len() > 30, "root key, session, three private keys: {}", secrets.len());
    secrets.extend([PASS.to_owned(), SIGNING_PASS.to_owned()]);
    for dir in [master.root(), minion.root()] {
        for name in ["log", "out"] {
            let log = fs::read_to_string(dir.join(name)).unwrap();
            for secret in secrets.iter().map(String::as_str).chain([PILLAR]) {
                let line = log.lines().find(|line| line.contains(secret));
                assert!(line.is_none(), "{}/{name}: {line:?}", dir.display());
            }
        }
    }
    let log = fs::read_to_string(master.root().join("log")).unwrap();
    assert!(log.contains("[DEBUG") && log.lines().count() > 20, "it does log: {log}");
}

/// A program under a umask that hides nothing.
fn start_open(name: &str, command: &Command, root: &Path) -> Program {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    Program::start(name, shell, &root.join("out"))
}

#[test]
fn an_open_umask_opens_nothing() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, minion) = with_secrets(&fleet);
    let _master = start_open("salt-master", &master.tool("salt-master"), master.root());
    wait::until("the master", || {
        (master.address.answers(4506) && master.address.answers(4505)).then_some(())
    });
    trust(&master, &minion);
    let mut command = Peer::Saltern.program("salt-minion");
    command.arg("-c").arg(minion.conf());
    let _minion = start_open("salt-minion", &command, minion.root());
    work(&master);
    let mut with_secret = 0;
    for path in everything(fleet.root()) {
        // A file that is replaced has another name while it is written.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let mode = meta.permissions().mode() & 0o777;
        let shown = format!("{} is {mode:o}", path.display());
        assert_eq!(mode & 0o022, 0, "others may write: {shown}");
        if meta.file_type().is_socket() || !meta.is_file() {
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        let has = |what: &str| bytes.windows(what.len()).any(|part| part == what.as_bytes());
        let name = path.file_name().unwrap().to_string_lossy();
        let session = path.parent().is_some_and(|p| p.ends_with("sessions"));
        if has("PRIVATE KEY")
            || has(PILLAR)
            || name.ends_with("_key")
            || session
            || name.contains("sqlite")
        {
            assert_eq!(mode & 0o077, 0, "others may read a secret: {shown}");
            with_secret += 1;
        }
    }
    assert!(with_secret >= 7, "keys, sessions, root key and caches were looked at: {with_secret}");
}

/// Files, directories and sockets the programs have made; configuration is the test's own.
fn everything(root: &Path) -> Vec<PathBuf> {
    let (mut all, mut open) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let name = entry.file_name();
            if name == "conf" || name == "srv" || name == "out" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            all.push(entry.path());
        }
    }
    all
}
