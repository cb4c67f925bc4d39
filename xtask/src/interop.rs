//! The interop tests: real programs on a machine that others may be busy on. A test that fails is
//! run once more, alone; one that passes then is told at the end, so that it gets mended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::run::{Done, cargo, root};
use crate::{packages, venvs};

/// More failures than this are no accident and are not tried again.
const ACCIDENTS: usize = 5;

/// Tests at a time: each runs up to four masters and minions of its own, and more would only make
/// them wait for each other.
const THREADS: &str = "3";

/// Runs all of them, or those a filter names. `untested` is added to what was not tested here,
/// `soaked` is how the soak ended: told, and counted, like a test.
pub fn run(
    filter: &[String],
    untested: Option<String>,
    soaked: Result<Option<String>, String>,
) -> Done {
    venvs::make()?;
    packages::install();
    let skipped = root().join("target/skipped.txt");
    drop(fs::remove_file(&skipped));
    let (mut again, mut failed) = match soaked {
        Ok(again) => (Vec::from_iter(again), Vec::new()),
        Err(error) => (Vec::new(), vec![error]),
    };
    for suite in suites()? {
        let first = attempt(&suite, filter, THREADS)?;
        if first.len() > ACCIDENTS {
            failed.extend(first);
            continue;
        }
        for name in first {
            eprintln!("xtask: {suite}: {name} failed and is run once more, alone");
            let exact = [name.clone(), "--exact".to_owned()];
            match attempt(&suite, &exact, "1")?.is_empty() {
                true => again.push(format!("{suite}: {name}")),
                false => failed.push(name),
            }
        }
    }
    let skipped = fs::read_to_string(&skipped).unwrap_or_default();
    tell("NOT TESTED ON THIS MACHINE", skipped.lines().map(str::to_owned).chain(untested));
    tell("PASSED ONLY AT THE SECOND TRY", again.into_iter());
    if failed.is_empty() { Ok(()) } else { Err(format!("failed tests: {}", failed.join(", "))) }
}

/// The test programs of the package, in the order of their names.
fn suites() -> Result<Vec<String>, String> {
    let dir = root().join("tests/interop/tests");
    let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Runs one program and returns the tests that failed. What it prints is passed on.
fn attempt(suite: &str, arguments: &[String], threads: &str) -> Result<Vec<String>, String> {
    let mut command = command(suite);
    command.args(["--test-threads", threads]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cargo test: {e}"))?;
    let mut failed = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.map_err(|e| e.to_string())?;
        println!("{line}");
        let name = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
        failed.extend(name.map(str::to_owned));
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    match (status.success(), failed.is_empty()) {
        (true, _) => Ok(Vec::new()),
        (false, false) => Ok(failed),
        (false, true) => Err(format!("{suite} ended with {status}")),
    }
}

fn command(suite: &str) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--release", "--locked", "--package", "saltern-interop"])
        .args(["--test", suite, "--"])
        .env("SALTERN_SKIPPED", root().join("target/skipped.txt"));
    command
}

fn tell(title: &str, lines: impl Iterator<Item = String>) {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines.dedup();
    if !lines.is_empty() {
        eprintln!("\n=== {title} ===");
        lines.iter().for_each(|line| eprintln!("{line}"));
    }
}
