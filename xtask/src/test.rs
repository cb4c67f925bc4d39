//! Everything a change must pass, in one profile so that the C libraries are compiled once.

use crate::run::{Done, cargo};
use crate::{check, deb, dist, interop, packages, soak};

/// All checks and tests; with a filter, only the interop tests it names.
pub fn run_all() -> Done {
    check::all()?;
    crate::run::run(cargo().args(["build", "--release", "--locked", "--package", "saltern"]))?;
    dist::is_small(&crate::run::root().join("target/release/saltern"))?;
    crate::run::run(
        cargo()
            .args(["test", "--release", "--locked", "--workspace"])
            .args(["--exclude", "saltern-interop"]),
    )?;
    crate::run::run(
        cargo()
            .args(["test", "--release", "--locked", "--package", "saltern-interop"])
            .args(["--lib", "--bins"]),
    )?;
    packages::install();
    let untested = deb::test()?;
    interop::run(&[], untested, soak::short())
}

/// Entry of `cargo xtask test`.
pub fn run(filter: &[String]) -> Done {
    if filter.is_empty() {
        return run_all();
    }
    build_program()?;
    interop::run(filter, None, Ok(None))
}

/// The program in the release profile.
pub fn build_program() -> Done {
    crate::run::run(cargo().args(["build", "--release", "--package", "saltern"]))
}
