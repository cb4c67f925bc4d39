//! The job cache: one sqlite file that survives a crash at any moment and holds a million returns
//! without a directory walk.

mod expiry;
mod known;
mod query;
mod queue;
#[cfg(test)]
mod tests;
mod work;
mod writer;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use saltern_base::{Jid, MinionId};
use saltern_value::{Map, Value};

use self::query::Reader;
use self::queue::{Queue, Wait};
use self::work::{JobRow, Op, Outcome, ReturnRow, Work};
use self::writer::Shared;
use crate::StoreError;
use crate::db;

/// How the job cache behaves.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Writes waiting for the disk: more are refused with [`StoreError::Busy`].
    pub queue_items: usize,
    /// Bytes of writes waiting for the disk; one item is always let in.
    pub queue_bytes: usize,
    /// Longest time a write waits for others to share its commit.
    pub linger: Duration,
}

impl Default for JobSettings {
    fn default() -> Self {
        JobSettings {
            queue_items: 10_000,
            queue_bytes: 64 << 20,
            linger: Duration::from_millis(10),
        }
    }
}

/// A job to keep.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub jid: Jid,
    /// The publish load as clients sent it, without `key`.
    pub load: Map,
    /// The minions expected to answer.
    pub minions: Vec<String>,
    /// Whether returns shall not be kept (`nocache`).
    pub nocache: bool,
}

/// A return to keep.
#[derive(Clone, Debug)]
pub struct NewReturn {
    /// The job.
    pub jid: Jid,
    /// Who answers.
    pub minion: MinionId,
    /// `return`
    pub value: Value,
    /// `retcode`
    pub retcode: Option<i64>,
    /// `success`
    pub success: Option<bool>,
    /// `out`: the outputter to show it with.
    pub out: Option<String>,
    /// The whole return load: makes the job's record when the jid is unknown (a minion's own job).
    pub load: Map,
    /// The master that asked for it, as the minion calls it; empty for this one.
    pub origin: String,
}

/// A return to keep, of borrowed parts: nothing is copied but what is written.
#[derive(Debug)]
pub struct ReturnParts<'a> {
    /// The job.
    pub jid: &'a Jid,
    /// Who answers.
    pub minion: &'a MinionId,
    /// `return`
    pub value: &'a Value,
    /// `retcode`
    pub retcode: Option<i64>,
    /// `success`
    pub success: Option<bool>,
    /// `out`: the outputter to show it with.
    pub out: Option<&'a str>,
    /// The master that asked for it, as the minion calls it; empty for this one.
    pub origin: &'a str,
    /// The text to note as the job's end (`job_cache_store_endtime`).
    pub endtime: Option<String>,
    /// The record of the job, for the case that it has none (a minion's own job). `None` when
    /// [`JobStore::knows`] it.
    pub job: Option<Map>,
}

/// A return as it is written.
pub struct PackedReturn(ReturnRow);

impl ReturnParts<'_> {
    /// Packs them.
    #[must_use]
    pub fn pack(self) -> PackedReturn {
        PackedReturn(ReturnRow::of(self, SystemTime::now()))
    }
}

/// What became of a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Kept.
    New,
    /// This minion's return for this job is there already; the first one stays (trap T13).
    Duplicate,
    /// The job wants no returns kept.
    NotWanted,
}

/// A job as kept.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// Its id.
    pub jid: Jid,
    /// The publish load; for a minion's own job its first return load.
    pub load: Map,
    /// The minions expected to answer, sorted.
    pub minions: Vec<String>,
    /// When it was kept.
    pub created: SystemTime,
    /// When its last return arrived, with `job_cache_store_endtime`, as text.
    pub endtime: Option<String>,
    /// Whether the record was made from a return.
    pub from_return: bool,
}

/// A return as kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredReturn {
    /// Who answered.
    pub minion: String,
    /// `return`
    pub value: Value,
    /// `retcode`
    pub retcode: Option<i64>,
    /// `success`
    pub success: Option<bool>,
    /// `out`
    pub out: Option<String>,
    /// When it was kept.
    pub received: SystemTime,
    /// The master that asked for it, as the minion calls it; empty for this one.
    pub origin: String,
}

impl StoredReturn {
    /// The return as `jobs.list_job` shows it: `return`, `retcode`, `success`, `out`, each when
    /// the minion sent it, and `origin` when another master had asked for it.
    #[must_use]
    pub fn to_map(&self) -> Map {
        let mut map = Map::from([("return", self.value.clone())]);
        if let Some(retcode) = self.retcode {
            map.insert("retcode", retcode);
        }
        if let Some(success) = self.success {
            map.insert("success", success);
        }
        if let Some(out) = &self.out {
            map.insert("out", out);
        }
        if !self.origin.is_empty() {
            map.insert("origin", self.origin.as_str());
        }
        map
    }
}

/// Which jobs to list; the empty filter lists all. Several names in one field are alternatives,
/// several fields must all hold.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only jobs whose function matches one of these globs (`search_function`).
    pub functions: Vec<String>,
    /// Only jobs whose target matches one of these globs (`search_target`).
    pub targets: Vec<String>,
    /// Only jobs whose metadata has one of these members with the same value
    /// (`search_metadata`).
    pub metadata: Option<Map>,
    /// Only jobs started at or after this time (`start_time`).
    pub start: Option<SystemTime>,
    /// Only jobs started at or before this time (`end_time`).
    pub end: Option<SystemTime>,
    /// At most so many, newest first when given (`last_run` uses 1).
    pub limit: Option<usize>,
}

/// The job cache. Cheap to clone; clones share it. The last one gone writes what waits.
#[derive(Clone, Debug)]
pub struct JobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    reader: Reader,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            // A callback may hold the last clone; the thread cannot wait for itself.
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            log::error!("the writer of {} has failed", self.shared.path.display());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl JobStore {
    /// Opens (makes) `<cachedir>/jobs.sqlite`. A file that is damaged is moved aside with a loud
    /// message and a new one begins.
    ///
    /// # Errors
    /// The file system's refusal, or a file of a newer version of this program.
    pub fn open(cachedir: &Path, settings: JobSettings) -> Result<Self, StoreError> {
        let path = cachedir.join("jobs.sqlite");
        let db = db::open_or_renew(&path, writer::KIND)?;
        let shared = Arc::new(Shared {
            path,
            queue: Queue::new(settings.queue_items, settings.queue_bytes),
            generation: AtomicU64::new(0),
            known: known::Known::default(),
        });
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("job-cache".to_owned())
            .spawn(move || writer::run(&writer, db, settings.linger))
            .map_err(|e| StoreError::io("start a thread for", &shared.path, e))?;
        let thread = Mutex::new(Some(thread));
        Ok(JobStore { inner: Arc::new(Inner { shared, reader: Reader::default(), thread }) })
    }

    /// Keeps a job and waits until it would survive a crash. A job that is there is replaced,
    /// its returns stay.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn save_job(&self, job: NewJob) -> Result<(), StoreError> {
        let row = JobRow::new(job, SystemTime::now());
        let size = row.size();
        self.wait_for(Work::Job(row), size).map(|_| ())
    }

    /// Adds minions to the expected ones of a job (syndics, `missing`).
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn add_minions(&self, jid: &Jid, minions: &[String]) -> Result<(), StoreError> {
        let work = Work::Minions { jid: jid.to_string(), add: minions.to_vec() };
        self.wait_for(work, 0).map(|_| ())
    }

    /// Keeps a return and waits until it would survive a crash. Waits while the queue is full.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn save_return(&self, ret: NewReturn) -> Result<Stored, StoreError> {
        let row = ReturnRow::new(ret, SystemTime::now());
        let size = row.size();
        self.wait_for(Work::Return(row), size).map(stored)
    }

    /// Puts a return into the queue and comes back at once; `done` is called, on the writer's
    /// thread, when it would survive a crash or could not be kept.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the queue is full (`done` is then not called).
    pub fn enqueue_return(
        &self,
        ret: NewReturn,
        done: impl FnOnce(Result<Stored, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.enqueue(ReturnRow::new(ret, SystemTime::now()), done)
    }

    /// As [`JobStore::enqueue_return`], for one that is packed already.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the queue is full (`done` is then not called).
    pub fn enqueue_packed(
        &self,
        ret: PackedReturn,
        done: impl FnOnce(Result<Stored, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.enqueue(ret.0, done)
    }

    /// Whether [`JobStore::enqueue_packed`] would take this return in now (unless another comes
    /// first).
    #[must_use]
    pub fn has_room(&self, ret: &PackedReturn) -> bool {
        self.inner.shared.queue.has_room(ret.0.size())
    }

    /// Whether the job surely has a record: its returns need to bring none along.
    #[must_use]
    pub fn knows(&self, jid: &Jid) -> bool {
        self.inner.shared.known.has(jid.as_str())
    }

    /// Writes that wait for the disk: their number and their bytes.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.inner.shared.queue.waiting()
    }

    /// Bytes of the job cache on disk, its log included; 0 when they cannot be told.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let path = &self.inner.shared.path;
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        size(path) + size(&path.with_extension("sqlite-wal"))
    }

    fn enqueue(
        &self,
        row: ReturnRow,
        done: impl FnOnce(Result<Stored, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let op = Op {
            size: row.size(),
            work: Work::Return(row),
            urgent: false,
            done: Some(Box::new(|outcome| done(outcome.map(stored)))),
        };
        self.inner.shared.queue.push(op, Wait::No)
    }

    /// Notes the time at which a job ended (`job_cache_store_endtime`).
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn set_endtime(&self, jid: &Jid, text: &str) -> Result<(), StoreError> {
        let work = Work::EndTime { jid: jid.to_string(), text: text.to_owned() };
        self.wait_for(work, 0).map(|_| ())
    }

    /// One job, without its returns.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn job(&self, jid: &Jid) -> Result<Option<JobRecord>, StoreError> {
        self.ask(|db| query::job(db, jid))
    }

    /// All returns of a job, sorted by minion.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn returns(&self, jid: &Jid) -> Result<Vec<StoredReturn>, StoreError> {
        self.ask(|db| query::returns(db, jid))
    }

    /// The return of one minion.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn return_of(&self, jid: &Jid, minion: &str) -> Result<Option<StoredReturn>, StoreError> {
        self.ask(|db| query::return_of(db, jid, minion))
    }

    /// Jobs that match, oldest first (newest first with a limit), without their minions:
    /// [`JobStore::job`] has those.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn list(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        self.ask(|db| query::list(db, filter))
    }

    /// Jobs kept since `since` of which not every expected minion has answered, with those that
    /// have not.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn unfinished(
        &self,
        since: SystemTime,
    ) -> Result<Vec<(JobRecord, Vec<String>)>, StoreError> {
        self.ask(|db| query::unfinished(db, since))
    }

    /// Removes jobs kept before `before` with their returns (`keep_jobs_seconds`), step by step so
    /// that returns are kept meanwhile, and begins to give free pages back to the file system. Returns
    /// how many jobs went; fewer when the job cache is closed before all have.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn expire(&self, before: SystemTime) -> Result<usize, StoreError> {
        match self.wait_for(Work::Expire { before: work::micros(before) }, 0)? {
            Outcome::Expired { jobs, .. } => Ok(jobs),
            Outcome::Done | Outcome::Return(_) => Ok(0),
        }
    }

    /// Writes what waits and ends the writer thread. Later writes are refused.
    pub fn close(&self) {
        self.inner.close();
    }

    fn wait_for(&self, work: Work, size: usize) -> Result<Outcome, StoreError> {
        let (tell, told) = sync_channel(1);
        let done: work::Done = Box::new(move |outcome| drop(tell.send(outcome)));
        let op = Op { work, urgent: true, size, done: Some(done) };
        self.inner.shared.queue.push(op, Wait::Yes)?;
        told.recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Reads what has been put in so far, also what still waits.
    fn ask<T>(
        &self,
        question: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if !self.inner.shared.queue.is_idle() {
            match self.wait_for(Work::Flush, 0) {
                Ok(_) | Err(StoreError::Closed) => {}
                Err(e) => return Err(e),
            }
        }
        self.inner.reader.ask(&self.inner.shared, question)
    }
}

fn stored(outcome: Outcome) -> Stored {
    match outcome {
        Outcome::Return(stored) => stored,
        Outcome::Done | Outcome::Expired { .. } => Stored::New,
    }
}
