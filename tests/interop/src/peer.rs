//! Whose programs run: ours, or one of the two Salt releases we answer to.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One implementation of Salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Saltern,
    Salt3006,
    Salt3008,
}

impl Peer {
    /// The exact release, as a package index names it.
    pub fn version(self) -> &'static str {
        match self {
            Peer::Saltern => env!("CARGO_PKG_VERSION"),
            Peer::Salt3006 => "3006.24",
            Peer::Salt3008 => "3008.2",
        }
    }

    /// A command that runs one of its programs (`salt-master`, `salt`, ...).
    pub fn program(self, name: &str) -> Command {
        match self {
            Peer::Saltern => {
                let mut command = Command::new(saltern());
                command.arg(name.strip_prefix("salt-").unwrap_or(name));
                command
            }
            _ => {
                let path = venv(self.version()).join("bin").join(name);
                assert!(
                    path.exists(),
                    "{} is missing; make the environments with: cargo xtask venvs",
                    path.display()
                );
                Command::new(path)
            }
        }
    }
}

/// The executable under test: `SALTERN`, or the one built beside the tests.
pub fn saltern() -> PathBuf {
    let path = env::var_os("SALTERN").map_or_else(built, PathBuf::from);
    assert!(path.exists(), "{} is missing; build it first: cargo build --release", path.display());
    path
}

/// `target/<profile>/saltern`, seen from our own executable there (benchmarks) or in its `deps`
/// (tests).
fn built() -> PathBuf {
    let exe = env::current_exe().unwrap();
    let dir = exe.parent().unwrap();
    let dir = if dir.ends_with("deps") { dir.parent().unwrap() } else { dir };
    dir.join("saltern")
}

fn venv(version: &str) -> PathBuf {
    let root = env::var_os("SALTERN_VENVS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/venvs"),
        PathBuf::from,
    );
    root.join(format!("salt-{version}"))
}
