//! rustfmt, clippy, layers, cargo-deny.

use std::path::PathBuf;
use std::process::Command;

use crate::layers;
use crate::run::{Done, cargo, root, run};

const DENY: &str = "0.20.2";

/// All of them.
pub fn all() -> Done {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    layers::check()?;
    run(cargo()
        .args(["clippy", "--release", "--workspace", "--all-targets", "--locked", "--"])
        .args(["-D", "warnings"]))?;
    deny()
}

/// Licences, banned and doubled crates, sources. Advisories need a database from a host that not
/// every machine reaches; where it is, `cargo deny check` does all.
fn deny() -> Done {
    let tool = deny_tool()?;
    run(Command::new(tool).current_dir(root()).args([
        "--workspace",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}

fn deny_tool() -> Result<PathBuf, String> {
    let tools = root().join(".cache/tools");
    let tool = tools.join("bin/cargo-deny");
    if !tool.exists() {
        run(cargo()
            .args(["install", "cargo-deny", "--locked", "--no-default-features"])
            .args(["--version", DENY])
            .arg("--root")
            .arg(&tools))?;
    }
    Ok(tool)
}
