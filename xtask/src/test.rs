//! Everything a change must pass, in one profile so that the C libraries are compiled once.

use std::collections::BTreeSet;
use std::fs;

use crate::run::{Done, cargo, root};
use crate::{check, deb, packages, venvs};

/// All checks and tests; with a filter, only the interop tests it names.
pub fn run_all() -> Done {
    check::all()?;
    crate::run::run(cargo().args(["build", "--release", "--locked", "--package", "saltern"]))?;
    crate::run::run(
        cargo()
            .args(["test", "--release", "--locked", "--workspace"])
            .args(["--exclude", "saltern-interop"]),
    )?;
    packages::install();
    let without = deb::test()?;
    interop(&[])?;
    repeat(&without.unwrap_or_default());
    Ok(())
}

/// Entry of `cargo xtask test`.
pub fn run(filter: &[String]) -> Done {
    if filter.is_empty() {
        return run_all();
    }
    build_program()?;
    interop(filter)
}

/// The program in the release profile.
pub fn build_program() -> Done {
    crate::run::run(cargo().args(["build", "--release", "--package", "saltern"]))
}

fn interop(filter: &[String]) -> Done {
    venvs::make()?;
    packages::install();
    let skipped = root().join("target/skipped.txt");
    let _ = fs::remove_file(&skipped);
    // Each test runs up to four masters and minions of its own; more at a time than this would
    // only make them wait for each other.
    let done = crate::run::run(
        cargo()
            .args(["test", "--release", "--locked", "--package", "saltern-interop", "--"])
            .args(["--test-threads", "3"])
            .args(filter)
            .env("SALTERN_SKIPPED", &skipped),
    );
    repeat(&fs::read_to_string(&skipped).unwrap_or_default());
    done
}

/// What was not tested here, once more at the end, where it is seen.
fn repeat(skipped: &str) {
    let lines: BTreeSet<_> = skipped.lines().collect();
    if !lines.is_empty() {
        eprintln!("\n=== NOT TESTED ON THIS MACHINE ===");
        lines.iter().for_each(|line| eprintln!("{line}"));
    }
}
