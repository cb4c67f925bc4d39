//! Environments with real Salt, made once and cached in `.cache/venvs`.

use std::fs;
use std::process::Command;

use crate::run::{Done, root, run};

/// The releases Saltern answers to. Later patch releases do not install on Python 3.11.
const RELEASES: [&str; 2] = ["3006.24", "3008.2"];

/// Makes what is missing. An environment counts as made when its mark is there: the mark is
/// written last, so one that was interrupted is made anew.
pub fn make() -> Done {
    for release in RELEASES {
        let venv = root().join(format!(".cache/venvs/salt-{release}"));
        let mark = venv.join(".complete");
        if mark.exists() {
            continue;
        }
        if venv.exists() {
            fs::remove_dir_all(&venv).map_err(|e| format!("{}: {e}", venv.display()))?;
        }
        run(Command::new(python()).args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("salt=={release}")))?;
        fs::write(&mark, release).map_err(|e| format!("{}: {e}", mark.display()))?;
    }
    Ok(())
}

fn python() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}
