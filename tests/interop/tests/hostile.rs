//! Bad input and bad peers against our programs, from independent clients: dropped or answered as
//! Salt answers, nothing written, the service unaffected (docs/security.md says which test is for
//! which known flaw).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../hostile/crashes.rs"]
mod crashes;
#[path = "../hostile/impostors.rs"]
mod impostors;
#[path = "../hostile/members.rs"]
mod members;
#[path = "../hostile/secrets.rs"]
mod secrets;
#[path = "../hostile/strangers.rs"]
mod strangers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use saltern_interop::Peer;

/// One of the scripts of the hostile clients.
fn script(name: &str) -> Command {
    let mut command = Peer::Salt3006.program("python");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile").join(name));
    command
}

/// Files below a directory, but for those that grow by themselves and those that are just being
/// written to take the place of another one.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let unfinished = name.starts_with('.') && name.ends_with(".tmp");
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if !unfinished && !name.contains("sqlite") && name != "log" && name != "out" {
                all.insert(path);
            }
        }
    }
    all
}

/// Has a program log all it has to say, in a directory of further configuration.
fn log_everything(dir: &Path) {
    fs::write(dir.join("log.conf"), "log_level: all\nlog_level_logfile: all\n").unwrap();
}
