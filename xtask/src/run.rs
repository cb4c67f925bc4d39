//! Running other programs, loudly.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What goes wrong here ends the task, in one sentence.
pub type Done = Result<(), String>;

/// The top of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command and fails when it fails.
pub fn run(command: &mut Command) -> Done {
    eprintln!("+ {}", shown(command));
    let status =
        command.stdin(Stdio::null()).status().map_err(|e| format!("{}: {e}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// What a command prints.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{}: {e}", shown(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} ended with {}: {errors}", shown(command), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Random faults in a fleet.
pub fn chaos(args: &[String]) -> Done {
    crate::packages::install();
    crate::test::build_program()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    interop_program("chaos", &args)
}

/// A program that uses the bench of the interop tests.
pub fn interop_program(name: &str, args: &[&str]) -> Done {
    run(cargo()
        .args(["run", "--release", "--quiet", "--package", "saltern-interop", "--bin", name])
        .arg("--")
        .args(args))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
