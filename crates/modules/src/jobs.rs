//! The jobs of this process: who runs, which children they have, how to end them; and one file
//! per job in `<cachedir>/proc`, where other programs on this machine look.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use saltern_base::{Jid, atomic_file};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

/// Member of a job's file that says its process runs other jobs too, so that ending the job by
/// ending the process is out of the question.
const SHARED: &str = "shared_process";

/// Signals whose default action is not to end the program: CHLD, CONT, STOP, TSTP, TTIN, TTOU,
/// URG, WINCH, and 0, which only asks.
const HARMLESS: [i32; 9] = [0, 17, 18, 19, 20, 21, 22, 23, 28];

/// The jobs of this process.
pub struct JobTable {
    dir: PathBuf,
    shared: bool,
    jobs: Mutex<Vec<Arc<Job>>>,
    idle: Condvar,
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

/// A job of this id is running already, so it was not started.
#[derive(Debug)]
pub struct RunsAlready;

impl std::fmt::Display for RunsAlready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the job is running already")
    }
}

impl std::error::Error for RunsAlready {}

/// What came of sending a signal to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    /// It was sent; the number is the process that runs the job.
    Sent(i64),
    /// No such job runs.
    NoJob,
    /// The job is one of several of another process, which cannot be reached from here.
    Elsewhere(i64),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in a job must not take the table down: its data is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl JobTable {
    /// A table that keeps its files in `<cachedir>/proc`. `shared` says that this process runs
    /// several jobs (the daemon) and not just one (`salt-call`). Touches nothing yet.
    #[must_use]
    pub fn new(cachedir: &Path, shared: bool) -> Self {
        JobTable {
            dir: cachedir.join("proc"),
            shared,
            jobs: Mutex::default(),
            idle: Condvar::new(),
        }
    }

    /// Removes the files of jobs whose process is gone, and those of a former life of this
    /// process id; for a daemon's start.
    pub fn remove_stale(&self) {
        for (path, load) in self.files() {
            let pid = load.get("pid").and_then(Value::as_int);
            if pid.is_none_or(|p| p == own_pid() || !is_salt_process(p)) {
                drop(fs::remove_file(path));
            }
        }
    }

    /// Enters a job. `load` is the publication (`fun`, `arg`, `tgt`, `ret`, `user`, ...). A file
    /// that cannot be written is no reason not to run it: that may be how a full disk gets room.
    ///
    /// # Errors
    /// [`RunsAlready`].
    pub fn start(&self, jid: &Jid, load: &Map) -> Result<RunningJob<'_>, RunsAlready> {
        let mut full = Map::from([("pid", own_pid())]);
        full.extend(load.clone());
        full.insert("jid", jid.as_str());
        let job = Arc::new(Job {
            jid: jid.as_str().to_owned(),
            load: full,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        {
            let mut jobs = lock(&self.jobs);
            if jobs.iter().any(|j| j.jid == job.jid) {
                return Err(RunsAlready);
            }
            jobs.push(job.clone());
        }
        let running = RunningJob { table: self, job };
        if let Err(error) = self.write_file(&running.job) {
            log::error!(
                "The job file {} cannot be written: {error}. The job runs all the same, unseen by \
                 other programs on this machine",
                self.dir.join(jid.as_str()).display()
            );
        }
        Ok(running)
    }

    fn write_file(&self, job: &Job) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut load = job.load.clone();
        if self.shared {
            load.insert(SHARED, true);
        }
        let bytes = msgpack::encode(&Value::Map(load), Encoding::Bin);
        atomic_file::write(&self.dir.join(&job.jid), &bytes, 0o600)
    }

    /// The job of that id, if this process runs it.
    #[must_use]
    pub fn job(&self, jid: &str) -> Option<Arc<Job>> {
        lock(&self.jobs).iter().find(|j| j.jid == jid).cloned()
    }

    /// The loads of all running jobs (with `pid`): this process's, and those other processes
    /// (`salt-call`, the daemon) left a file for.
    #[must_use]
    pub fn running(&self) -> Vec<Map> {
        let mut loads: Vec<Map> = lock(&self.jobs).iter().map(|j| j.load.clone()).collect();
        loads.extend(self.elsewhere().into_iter().map(|mut load| {
            load.remove(SHARED);
            load
        }));
        loads
    }

    /// Sends a signal to a job: to all its children, and, when the signal ends programs by
    /// default, ends the job itself.
    #[must_use]
    pub fn signal(&self, jid: &str, signal: i32) -> Signalled {
        if let Some(job) = self.job(jid) {
            job.signal(signal);
            return Signalled::Sent(own_pid());
        }
        let Some(load) = self.elsewhere().into_iter().find(|load| load.get_str("jid") == Some(jid))
        else {
            return Signalled::NoJob;
        };
        let pid = load.get("pid").and_then(Value::as_int).unwrap_or(0);
        if load.get(SHARED).is_some() {
            return Signalled::Elsewhere(pid);
        }
        let target = i32::try_from(pid).ok().and_then(Pid::from_raw);
        match (target, Signal::from_named_raw(signal)) {
            (Some(target), Some(signal)) if kill_process(target, signal).is_ok() => {
                Signalled::Sent(pid)
            }
            _ => Signalled::NoJob,
        }
    }

    /// Sends a signal to all jobs of this process (a daemon that stops: 15, then 9).
    pub fn signal_all(&self, signal: i32) {
        let jobs = lock(&self.jobs).clone();
        for job in jobs {
            job.signal(signal);
        }
    }

    /// Waits until no job runs, at most that long; `true` when none does.
    #[must_use]
    pub fn wait_idle(&self, wait: Duration) -> bool {
        let jobs = lock(&self.jobs);
        self.idle
            .wait_timeout_while(jobs, wait, |jobs| !jobs.is_empty())
            .is_ok_and(|(jobs, _)| jobs.is_empty())
    }

    /// The files other processes left for jobs that still run.
    fn elsewhere(&self) -> Vec<Map> {
        let alive = |load: &Map| {
            load.get("pid")
                .and_then(Value::as_int)
                .is_some_and(|pid| pid != own_pid() && is_salt_process(pid))
        };
        self.files().into_iter().map(|(_, load)| load).filter(alive).collect()
    }

    fn files(&self) -> Vec<(PathBuf, Map)> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        entries
            .flatten()
            .filter(|e| e.file_name().to_str().is_some_and(|n| Jid::parse(n).is_ok()))
            .filter_map(|e| {
                let bytes = fs::read(e.path()).ok()?;
                let load = msgpack::from_file(&bytes).ok()?.into_map()?;
                Some((e.path(), load))
            })
            .collect()
    }

    fn leave(&self, job: &Arc<Job>) {
        drop(fs::remove_file(self.dir.join(&job.jid)));
        let mut jobs = lock(&self.jobs);
        jobs.retain(|j| !Arc::ptr_eq(j, job));
        if jobs.is_empty() {
            self.idle.notify_all();
        }
    }
}

fn own_pid() -> i64 {
    i64::from(process::id())
}

/// Whether that process lives and its command line looks like a Salt program: ids are used again.
fn is_salt_process(pid: i64) -> bool {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    if matches!(test_kill_process(raw), Err(e) if e == rustix::io::Errno::SRCH) {
        return false;
    }
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.windows(4).any(|w| w.eq_ignore_ascii_case(b"salt")))
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
        self.table.leave(&self.job);
    }
}

/// A child's process group while it is registered with its job.
pub(crate) struct Group<'a> {
    job: &'a Job,
    group: Pid,
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        lock(&self.job.state).groups.retain(|g| *g != self.group);
    }
}

impl Job {
    /// A job that stands in no table.
    #[must_use]
    pub fn detached(jid: &str) -> Arc<Self> {
        Arc::new(Job {
            jid: jid.to_owned(),
            load: Map::new(),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// The job id; empty when there is none.
    #[must_use]
    pub fn jid(&self) -> &str {
        &self.jid
    }

    /// The publication, with `pid`.
    #[must_use]
    pub fn load(&self) -> &Map {
        &self.load
    }

    /// The signal that ended the job, if one did.
    #[must_use]
    pub fn ended_by(&self) -> Option<i32> {
        lock(&self.state).ended_by
    }

    /// Sends a signal to the children, and ends the job when the signal ends programs by default.
    pub fn signal(&self, signal: i32) {
        let mut state = lock(&self.state);
        if let Some(named) = Signal::from_named_raw(signal) {
            for group in &state.groups {
                let _ = kill_process_group(*group, named);
            }
        }
        if !HARMLESS.contains(&signal) {
            state.ended_by = Some(signal);
            self.changed.notify_all();
        }
    }

    /// Sleeps that long, or until the job is ended; `false` when it was ended.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> bool {
        let state = lock(&self.state);
        let ended = |state: &mut State| state.ended_by.is_none();
        self.changed
            .wait_timeout_while(state, time, ended)
            .map_or(true, |(state, _)| state.ended_by.is_none())
    }

    /// Registers a child that leads its own process group. When the job was ended meanwhile, the
    /// child gets the signal at once.
    pub(crate) fn register(&self, group: Pid) -> Group<'_> {
        let mut state = lock(&self.state);
        state.groups.push(group);
        if let Some(signal) = state.ended_by.and_then(Signal::from_named_raw) {
            let _ = kill_process_group(group, signal);
        }
        Group { job: self, group }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;
    use crate::testing::TempDir;

    fn jid() -> Jid {
        Jid::parse("20260102030405000678").unwrap()
    }

    #[test]
    fn a_running_job_has_a_file_and_a_finished_one_has_none() {
        let dir = TempDir::new();
        let table = JobTable::new(dir.path(), true);
        let load = Map::from([("fun", "test.ping"), ("tgt", "*")]);
        let running = table.start(&jid(), &load).unwrap();
        let path = dir.path().join("proc").join(jid().as_str());
        let stored = msgpack::from_file(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(stored.get("fun"), Some(&Value::from("test.ping")));
        assert_eq!(stored.get("pid"), Some(&Value::Int(own_pid())));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(table.start(&jid(), &load).is_err(), "it runs already");
        assert_eq!(table.running().len(), 1);
        drop(running);
        assert!(!path.exists());
        assert!(table.running().is_empty());
        assert!(table.wait_idle(Duration::ZERO));
    }

    #[test]
    fn a_job_whose_file_cannot_be_written_runs_all_the_same() {
        let dir = TempDir::new();
        fs::write(dir.path().join("proc"), b"in the way").unwrap();
        let table = JobTable::new(dir.path(), true);
        let running = table.start(&jid(), &Map::from([("fun", "test.ping")])).unwrap();
        assert_eq!(table.running().len(), 1);
        drop(running);
        assert!(table.running().is_empty());
    }

    #[test]
    fn a_signal_ends_children_and_sleep_and_marks_the_job() {
        let dir = TempDir::new();
        let table = JobTable::new(dir.path(), true);
        let running = table.start(&jid(), &Map::new()).unwrap();
        let mut child = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let group = Pid::from_child(&child);
        let registered = running.job().register(group);
        assert_eq!(table.signal(jid().as_str(), 15), Signalled::Sent(own_pid()));
        assert!(!child.wait().unwrap().success());
        drop(registered);
        assert!(!running.job().sleep(Duration::from_secs(600)), "an ended job does not sleep");
        assert!(running.was_killed());
        assert_eq!(table.signal("20260102030405000679", 15), Signalled::NoJob);
    }

    #[test]
    fn a_harmless_signal_does_not_end_a_job() {
        let job = Job::detached("");
        job.signal(18);
        assert_eq!(job.ended_by(), None);
        job.signal(9);
        assert_eq!(job.ended_by(), Some(9));
    }

    #[test]
    fn stale_and_foreign_files_are_no_jobs() {
        let dir = TempDir::new();
        let table = JobTable::new(dir.path(), true);
        let proc_dir = dir.path().join("proc");
        fs::create_dir_all(&proc_dir).unwrap();
        let stale = Map::from([("pid", Value::Int(i64::from(i32::MAX))), ("jid", "1".into())]);
        let bytes = msgpack::encode(&Value::Map(stale), Encoding::Bin);
        fs::write(proc_dir.join(jid().as_str()), bytes).unwrap();
        fs::write(proc_dir.join("20260102030405000679"), b"garbage").unwrap();
        assert!(table.running().is_empty());
        table.remove_stale();
        assert!(!proc_dir.join(jid().as_str()).exists());
    }
}
