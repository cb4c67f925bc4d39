//! Everything a change must pass, in one profile so that the C libraries are compiled once.

use crate::run::{Done, cargo};
use crate::{check, venvs};

/// All checks and tests; with a filter, only the interop tests it names.
pub fn run_all() -> Done {
    check::all()?;
    crate::run::run(cargo().args(["build", "--release", "--locked", "--package", "saltern"]))?;
    crate::run::run(
        cargo()
            .args(["test", "--release", "--locked", "--workspace"])
            .args(["--exclude", "saltern-interop"]),
    )?;
    interop(&[])
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
    // Each test runs up to four masters and minions of its own; more at a time than this would
    // only make them wait for each other.
    crate::run::run(
        cargo()
            .args(["test", "--release", "--locked", "--package", "saltern-interop", "--"])
            .args(["--test-threads", "3"])
            .args(filter),
    )
}
