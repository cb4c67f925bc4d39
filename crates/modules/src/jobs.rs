//! The jobs of this process: who runs, which children they have, how to end them; and one file
//! per job in `<cachedir>/proc`, where other programs on this machine look.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use saltern_base::{Jid, atomic_file};
use saltern_value::{Map, Value, msgpack};

/// The jobs of this process.
pub struct JobTable {
    dir: PathBuf,
    jobs: Mutex<Vec<Arc<Job>>>,
}

/// One job.
pub struct Job {
    jid: String,
    load: Map,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ended_by: Option<i32>,
    groups: Vec<Pid>,
}

/// A job while it runs; dropping it takes the job out of the table and removes its file.
pub struct RunningJob<'a> {
    table: &'a JobTable,
    job: Arc<Job>,
}

/// Why a job was not started.
#[derive(Debug)]
pub enum StartError {
    /// A job of this id is running already.
    Running,
    /// The job's file could not be written.
    File(PathBuf, io::Error),
}

impl JobTable {
    /// A table that keeps its files in `<cachedir>/proc`. Touches nothing yet.
    #[must_use]
    pub fn new(cachedir: &Path) -> Self {
        JobTable { dir: cachedir.join("proc"), jobs: Mutex::default() }
    }

    /// Removes the files of jobs whose process is gone; for a daemon's start.
    pub fn remove_stale(&self) {
        todo!()
    }

    /// Enters a job. `load` is the publication (`fun`, `arg`, `tgt`, `ret`, `user`, ...).
    ///
    /// # Errors
    /// [`StartError`] when it runs already or its file cannot be written.
    pub fn start(&self, jid: &Jid, load: &Map) -> Result<RunningJob<'_>, StartError> {
        todo!()
    }

    /// The job of that id, if this process runs it.
    #[must_use]
    pub fn job(&self, jid: &str) -> Option<Arc<Job>> {
        todo!()
    }

    /// The loads of all running jobs (with `pid`): this process's, and those other processes
    /// (`salt-call`, the daemon) left a file for.
    #[must_use]
    pub fn running(&self) -> Vec<Map> {
        todo!()
    }

    /// Sends a signal to a job: to all its children, and, when the signal ends programs by
    /// default, ends the job itself. `Some(pid)` tells which process runs it.
    #[must_use]
    pub fn signal(&self, jid: &str, signal: i32) -> Option<i64> {
        todo!()
    }

    /// Sends a signal to all jobs of this process (a daemon that stops: 15, then 9).
    pub fn signal_all(&self, signal: i32) {
        todo!()
    }

    /// Waits until no job runs, at most that long; `true` when none does.
    #[must_use]
    pub fn wait_idle(&self, wait: Duration) -> bool {
        todo!()
    }
}

impl RunningJob<'_> {
    /// The job.
    #[must_use]
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// Whether the job was killed, so that, as in Salt, it returns nothing.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.job.ended_by().is_some()
    }
}

impl Drop for RunningJob<'_> {
    fn drop(&mut self) {
        todo!()
    }
}

impl Job {
    /// A job that stands in no table.
    #[must_use]
    pub fn detached(jid: &str) -> Arc<Self> {
        todo!()
    }

    /// The job id; empty when there is none.
    #[must_use]
    pub fn jid(&self) -> &str {
        &self.jid
    }

    /// The signal that ended the job, if one did.
    #[must_use]
    pub fn ended_by(&self) -> Option<i32> {
        todo!()
    }
}
