//! The processes of the demonstration. They end with it, unless they are to be kept.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::exit::Failure;

/// A running daemon.
pub(super) struct Daemon {
    child: Child,
    keep: bool,
}

impl Daemon {
    /// Starts this executable as `program` with that configuration.
    pub(super) fn start(program: &str, conf: &Path, keep: bool) -> Result<Self, Failure> {
        let output = File::create(conf.join("output"))?;
        let child = Command::new(std::env::current_exe()?)
            .arg(program)
            .arg("-c")
            .arg(conf)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C is for the demonstration, which then ends it in order.
            .process_group(0)
            .spawn()
            .map_err(|e| Failure::generic(format!("{program} cannot be started: {e}")))?;
        Ok(Daemon { child, keep })
    }

    /// SIGKILL: no farewell to anybody.
    pub(super) fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended, with what it printed last.
    pub(super) fn check(&mut self, conf: &Path) -> Result<(), Failure> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let text = std::fs::read_to_string(conf.join("output")).unwrap_or_default();
        Err(Failure::generic(format!("a daemon ended ({status}): {}", text.trim_end())))
    }

    /// From now on it stays when this value goes.
    pub(super) fn leave_running(&mut self) {
        self.keep = true;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.keep {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs one of this executable's tools with a configuration and returns what it printed.
pub(super) async fn tool(conf: &Path, args: &[&str]) -> Result<String, Failure> {
    let (program, rest) = args.split_first().unwrap_or((&"salt", &[]));
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .arg(program)
        .arg("-c")
        .arg(conf)
        .args(rest)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Failure::generic(format!("{} failed: {text} {}", args.join(" "), errors.trim_end())))
}
