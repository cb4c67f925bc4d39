//! The job cache: one sqlite file that survives a crash at any moment and holds a million returns
//! without a directory walk.

use std::path::Path;
use std::time::{Duration, SystemTime};

use saltern_base::{Jid, MinionId};
use saltern_value::{Map, Value};

use crate::StoreError;

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
    /// Which master got it, empty for this one.
    pub origin: String,
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
    /// Which master got it, empty for this one.
    pub origin: String,
}

/// Which jobs to list; the empty filter lists all. Several names in one field are alternatives,
/// several fields must all hold.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only jobs whose function matches one of these globs (`search_function`).
    pub functions: Vec<String>,
    /// Only jobs whose target matches one of these globs (`search_target`).
    pub targets: Vec<String>,
    /// Only jobs of which this text is part of the metadata: all given members must be equal
    /// (`search_metadata`).
    pub metadata: Option<Map>,
    /// Only jobs started at or after this time (`start_time`).
    pub start: Option<SystemTime>,
    /// Only jobs started at or before this time (`end_time`).
    pub end: Option<SystemTime>,
    /// At most so many, newest first when given (`last_run` uses 1).
    pub limit: Option<usize>,
}

/// The job cache. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct JobStore {}

impl JobStore {
    /// Opens (makes) `<cachedir>/jobs.sqlite`. A file that is damaged is moved aside with a loud
    /// message and a new one begins.
    ///
    /// # Errors
    /// The file system's refusal, or a file of a newer version of this program.
    pub fn open(_cachedir: &Path, _settings: JobSettings) -> Result<Self, StoreError> {
        todo!()
    }

    /// Keeps a job and waits until it would survive a crash. A job that is there is replaced,
    /// its returns stay.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn save_job(&self, _job: NewJob) -> Result<(), StoreError> {
        todo!()
    }

    /// Adds minions to the expected ones of a job (syndics, `missing`).
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn add_minions(&self, _jid: &Jid, _minions: &[String]) -> Result<(), StoreError> {
        todo!()
    }

    /// Keeps a return and waits until it would survive a crash. Waits while the queue is full.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn save_return(&self, _ret: NewReturn) -> Result<Stored, StoreError> {
        todo!()
    }

    /// Puts a return into the queue and comes back at once; `done` is called, on the writer's
    /// thread, when it would survive a crash or could not be kept.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the queue is full (`done` is then not called).
    pub fn enqueue_return(
        &self,
        _ret: NewReturn,
        _done: impl FnOnce(Result<Stored, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Notes the time at which a job ended (`job_cache_store_endtime`).
    ///
    /// # Errors
    /// [`StoreError::Closed`], or the database's refusal.
    pub fn set_endtime(&self, _jid: &Jid, _text: &str) -> Result<(), StoreError> {
        todo!()
    }

    /// One job, without its returns.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn job(&self, _jid: &Jid) -> Result<Option<JobRecord>, StoreError> {
        todo!()
    }

    /// All returns of a job, sorted by minion.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn returns(&self, _jid: &Jid) -> Result<Vec<StoredReturn>, StoreError> {
        todo!()
    }

    /// The return of one minion.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn return_of(&self, _jid: &Jid, _minion: &str) -> Result<Option<StoredReturn>, StoreError> {
        todo!()
    }

    /// Jobs that match, oldest first (newest first with a limit).
    ///
    /// # Errors
    /// The database's refusal.
    pub fn list(&self, _filter: &JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        todo!()
    }

    /// Jobs kept since `since` of which not every expected minion has answered, with those that
    /// have not.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn unfinished(
        &self,
        _since: SystemTime,
    ) -> Result<Vec<(JobRecord, Vec<String>)>, StoreError> {
        todo!()
    }

    /// Removes jobs kept before `before` with their returns (`keep_jobs_seconds`), and gives free
    /// pages back to the file system. Returns how many jobs went.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn expire(&self, _before: SystemTime) -> Result<usize, StoreError> {
        todo!()
    }

    /// Writes what waits and ends the writer thread. Later writes are refused.
    pub fn close(&self) {
        todo!()
    }
}
