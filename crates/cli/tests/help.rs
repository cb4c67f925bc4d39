//! The command-line interface as users see it: the `--help` of every program is kept in
//! `tests/help`, so that a change of it is seen in review. `SALTERN_BLESS=1` writes the files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

const PROGRAMS: [&str; 12] = [
    "", "master", "minion", "salt", "key", "call", "run", "cp", "links", "config", "demo", "swarm",
];

#[test]
fn help_texts_are_as_reviewed() {
    let mut changed = Vec::new();
    for program in PROGRAMS {
        let output = Command::new(env!("CARGO_BIN_EXE_saltern"))
            .args(Some(program).filter(|p| !p.is_empty()))
            .arg("--help")
            .env_remove("COLUMNS")
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        let name = if program.is_empty() { "saltern" } else { program };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/help/{name}.txt"));
        if env::var_os("SALTERN_BLESS").is_some() {
            fs::write(&file, &shown).unwrap();
        }
        if fs::read_to_string(&file).unwrap_or_default() != shown {
            changed.push(name);
        }
    }
    assert!(
        changed.is_empty(),
        "the help of {changed:?} changed; when that is meant, write it anew with \
         SALTERN_BLESS=1 cargo test -p saltern --test help"
    );
}
