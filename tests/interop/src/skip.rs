//! What cannot be tested on this machine is said loudly: on the terminal at once, past the capture
//! of the test runner, and in a summary that `cargo xtask test` repeats at its end.

use std::fs::File;
use std::io::Write;

/// Says that `what` is not tested here, and why.
pub fn skipped(what: &str, reason: &str) {
    let line = format!("SKIPPED: {what}: {reason}\n");
    // Not `eprintln!`: its text is shown of failed tests only.
    let _ = std::io::stderr().write_all(format!("\n{line}").as_bytes());
    if let Some(path) = std::env::var_os("SALTERN_SKIPPED") {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
