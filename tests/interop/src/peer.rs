//! Whose programs run: ours, one of the two Salt releases we answer to, or what else somebody
//! wants beside them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One implementation of Salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Saltern,
    Salt3006,
    Salt3008,
    /// Another installation; only `cargo xtask bench --against` makes these.
    Other(&'static Install),
}

/// Programs below a directory of somebody's choice.
#[derive(Debug, PartialEq, Eq)]
pub struct Install {
    /// What it is called in tables.
    name: String,
    /// Of real Salt: `bin/` of a virtual environment. Of ours: the executable.
    path: PathBuf,
    saltern: bool,
}

impl Peer {
    /// What is installed below `prefix`: a build of ours (`bin/saltern` or `saltern`), or an
    /// environment with real Salt (`bin/salt-master`).
    pub fn at(prefix: &Path) -> Result<Self, String> {
        let ours = [prefix.join("bin/saltern"), prefix.join("saltern"), prefix.to_path_buf()];
        let install = if let Some(path) = ours.iter().find(|path| path.is_file()) {
            let name = format!("Saltern in {}", prefix.display());
            Install { name, path: path.clone(), saltern: true }
        } else if prefix.join("bin/salt-master").is_file() {
            let path = prefix.join("bin");
            let mut command = Command::new(path.join("salt-master"));
            let output = command.arg("--version").output().map_err(|e| e.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = text.split_whitespace().nth(1).unwrap_or("of unknown version");
            let name = format!("Salt {version} in {}", prefix.display());
            Install { name, path, saltern: false }
        } else {
            return Err(format!(
                "{}: neither bin/saltern nor bin/salt-master is there",
                prefix.display()
            ));
        };
        Ok(Peer::Other(Box::leak(Box::new(install))))
    }

    /// Whether it is a build of ours.
    pub fn is_saltern(self) -> bool {
        matches!(self, Peer::Saltern | Peer::Other(Install { saltern: true, .. }))
    }

    /// Whether events are pushed to its bus behind their length, which real Salt's way of the bus
    /// is since 3007.
    pub(crate) fn frames_events_with_length(self) -> bool {
        let release = match self {
            Peer::Other(install) => install.name.strip_prefix("Salt ").unwrap_or("0"),
            peer => peer.version(),
        };
        release
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .is_some_and(|m: u32| m > 3006)
    }

    /// What it is called in tables.
    pub fn name(self) -> String {
        match self {
            Peer::Saltern => "Saltern".to_owned(),
            Peer::Other(install) => install.name.clone(),
            _ => format!("Salt {}", self.version()),
        }
    }

    /// The exact release, as a package index names it.
    pub fn version(self) -> &'static str {
        match self {
            Peer::Saltern => env!("CARGO_PKG_VERSION"),
            Peer::Salt3006 => "3006.24",
            Peer::Salt3008 => "3008.2",
            Peer::Other(install) => &install.name,
        }
    }

    /// A command that runs one of its programs (`salt-master`, `salt`, ...).
    pub fn program(self, name: &str) -> Command {
        match self {
            Peer::Saltern => ours(&saltern(), name),
            Peer::Other(install) if install.saltern => ours(&install.path, name),
            Peer::Other(install) => Command::new(install.path.join(name)),
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

fn ours(executable: &Path, name: &str) -> Command {
    let mut command = Command::new(executable);
    command.arg(name.strip_prefix("salt-").unwrap_or(name));
    command
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
