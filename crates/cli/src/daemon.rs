//! What the daemons share: runtimes, becoming another user, the pid file, signals.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{self, User};
use saltern_base::{atomic_file, memory};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{self, Failure};

/// Salt's tools expect a daemon to be gone two seconds after SIGTERM; this leaves a margin.
pub(crate) const GRACE: Duration = Duration::from_millis(1500);

/// Options of both daemons.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct DaemonArgs {
    /// Run in the background
    #[arg(short = 'd', long)]
    pub(crate) daemon: bool,
    /// User to run as
    #[arg(short = 'u', long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Location of the pid file
    #[arg(long, value_name = "PIDFILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Accepted for Salt's service files; there is no second process to keep alive
    #[arg(long)]
    pub(crate) disable_keepalive: bool,
}

/// The runtime of a tool: one thread.
pub(crate) fn tool_runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// The runtime of the minion: one thread, and short-lived ones for blocking work, so that an idle
/// minion is small.
pub(crate) fn minion_runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_secs(2))
        .thread_stack_size(2 << 20)
        .build()?)
}

/// The runtime of the master: a thread for each core.
pub(crate) fn master_runtime() -> Result<Runtime, Failure> {
    // What computes or waits for the disk has threads of its own. One thread for the sockets of a
    // small machine never wakes another to share its work with, which would cost more than most
    // messages do.
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    memory::prepare_heap(u8::try_from(cores.clamp(2, 16)).unwrap_or(16));
    Ok(Builder::new_multi_thread()
        .worker_threads((cores / 2).clamp(1, 16))
        .enable_all()
        .thread_keep_alive(Duration::from_secs(5))
        .build()?)
}

/// Does what must happen before the runtime starts: goes to the background, writes the pid file,
/// becomes the user of the configuration.
///
/// # Errors
/// When the system refuses.
pub(crate) fn prepare(args: &DaemonArgs, pidfile: &str, user: &str) -> Result<(), Failure> {
    if args.daemon {
        unistd::daemon(false, false)
            .map_err(|e| Failure::generic(format!("cannot go to the background: {e}")))?;
    }
    close_umask();
    let pidfile = args.pid_file.clone().unwrap_or_else(|| PathBuf::from(pidfile));
    if !pidfile.as_os_str().is_empty() {
        write_pidfile(&pidfile);
    }
    become_user(args.user.as_deref().unwrap_or(user))
}

/// Nobody but the owner writes to what a daemon makes, whatever umask it was started with
/// (CVE-2020-17490). What holds secrets has its own mode besides.
fn close_umask() {
    use nix::sys::stat::{Mode, umask};
    let closed = Mode::S_IWGRP | Mode::S_IWOTH;
    let given = umask(closed);
    umask(given | closed);
}

/// A pid file that cannot be written is no reason not to serve.
fn write_pidfile(path: &Path) {
    let text = std::process::id().to_string();
    let written = match path.parent() {
        Some(dir) => std::fs::create_dir_all(dir),
        None => Ok(()),
    }
    .and_then(|()| atomic_file::write(path, text.as_bytes(), 0o644));
    if let Err(error) = written {
        log::warn!("The pid file {} cannot be written: {error}", path.display());
    }
}

fn become_user(name: &str) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::new(exit::NO_USER, format!("option 'user': {why}"))
            .hint("set it to the user who starts the daemon, or start the daemon as root")
    };
    let user = match User::from_name(name) {
        Ok(Some(user)) => user,
        Ok(None) if name.is_empty() || name == crate::user::current() => return Ok(()),
        Ok(None) => return Err(refused(format!("there is no user '{name}'"))),
        Err(e) => return Err(refused(format!("the user '{name}' cannot be looked up: {e}"))),
    };
    if user.uid == unistd::geteuid() {
        return Ok(());
    }
    if !unistd::geteuid().is_root() {
        // Salt's default is root; whoever starts it otherwise means himself.
        if name == "root" || name == "salt" {
            return Ok(());
        }
        return Err(refused(format!("only root can become '{name}'")));
    }
    let login = std::ffi::CString::new(name).map_err(|e| refused(e.to_string()))?;
    unistd::initgroups(&login, user.gid)
        .and_then(|()| unistd::setgid(user.gid))
        .and_then(|()| unistd::setuid(user.uid))
        .map_err(|e| refused(format!("cannot become '{name}': {e}")))
}

/// The signals that end a daemon, and the one that reopens its log.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens to them from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the daemon is to end; reopens the log meanwhile when asked to.
    pub(crate) async fn ended(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    if let Err(error) = saltern_base::log::reopen() {
                        log::error!("{error}");
                    }
                }
            }
        }
    }
}

/// Gives `stop` so much time to end in order; then the process ends anyway.
pub(crate) async fn stop_within(limit: Duration, stop: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, stop).await.is_err() {
        log::warn!("Not everything ended within {limit:?}; the process ends now");
    }
}
