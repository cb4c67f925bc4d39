//! Programs of the system that some tests need and that a machine may lack.

use std::process::{Command, Stdio};

use crate::run::run;

/// A program, how it is asked for its version, and the Debian package it comes in.
const NEEDED: [(&str, &str, &str); 4] = [
    ("ip", "-V", "iproute2"),
    ("tc", "-V", "iproute2"),
    ("nft", "-v", "nftables"),
    ("debootstrap", "--version", "debootstrap"),
];

/// Installs what is missing where that is possible: as root, with apt-get. Elsewhere it says so;
/// the tests in need of it then say `SKIPPED`.
pub fn install() {
    let mut missing: Vec<&str> =
        NEEDED.iter().filter(|(tool, ask, _)| !works(tool, ask)).map(|(.., p)| *p).collect();
    missing.dedup();
    if missing.is_empty() {
        return;
    }
    let names = missing.join(" ");
    if !works("apt-get", "--version") || !is_root() {
        eprintln!("xtask: missing Debian packages: {names}; tests that need them are SKIPPED");
        return;
    }
    eprintln!("xtask: installing the Debian packages {names} for the tests that need them");
    let install = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run(command.args(["install", "-y", "--no-install-recommends"]).args(&missing))
    };
    // The lists of packages may be older than the packages.
    let done = install().or_else(|_| {
        run(Command::new("apt-get").arg("update"))?;
        install()
    });
    if let Err(error) = done {
        eprintln!("xtask: {error}; tests that need {names} are SKIPPED");
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|o| o.stdout == b"0\n")
}

fn works(tool: &str, ask: &str) -> bool {
    let mut command = Command::new(tool);
    command.arg(ask).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}
