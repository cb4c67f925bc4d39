//! `cargo xtask deb`: the Debian package with both systemd units, and its trial in a fresh Debian.

mod build;
mod notify;
mod trial;

use std::path::PathBuf;

use crate::dist;
use crate::run::{Done, root};

/// With `--host` the package holds the release build (which needs a glibc as new as this machine's)
/// instead of the static one; with `--try` it is installed in a debootstrap tree and run there.
pub fn run(args: &[String]) -> Done {
    let mut host = false;
    let mut attempt = false;
    for arg in args {
        match arg.as_str() {
            "--host" => host = true,
            "--try" => attempt = true,
            other => return Err(format!("deb: unknown argument {other}; known: --host, --try")),
        }
    }
    let package = build(host)?;
    println!("{}", package.display());
    if attempt { trial::install_and_use(&package, &trial::debian()?) } else { Ok(()) }
}

/// What `cargo xtask test` does: the package of the release build, tried in a fresh Debian. Gives
/// the reason when this machine has no way to get one.
pub fn test() -> Result<Option<String>, String> {
    let debian = match trial::debian() {
        Ok(debian) => debian,
        Err(error) => return Ok(Some(format!("the Debian package in a fresh Debian: {error}"))),
    };
    trial::install_and_use(&build(true)?, &debian).map(|()| None)
}

fn build(host: bool) -> Result<PathBuf, String> {
    let program = if host {
        crate::test::build_program()?;
        root().join("target/release/saltern")
    } else {
        dist::build()?;
        root().join("target/dist/saltern")
    };
    build::build(&program, host)
}
