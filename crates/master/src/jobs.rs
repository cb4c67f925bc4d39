//! Job book-keeping: hands out job ids and keeps jobs and returns in the job cache, off the event
//! loop.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use saltern_base::{Jid, MinionId};
use saltern_store::StoreError;
use saltern_store::jobs::{JobStore, NewJob, NewReturn, PackedReturn, Stored};
use saltern_value::{Map, Value};
use tokio::sync::oneshot;

/// The jobs of a master.
pub(crate) struct Jobs {
    store: JobStore,
    last: Mutex<Option<Jid>>,
    suffix: Option<u32>,
    keep: Option<Duration>,
    endtime: bool,
    enabled: bool,
    duplicates: AtomicU64,
    /// Returns that wait for room in the queue, in the order in which they came.
    turns: tokio::sync::Mutex<()>,
    held: AtomicUsize,
}

/// Most returns that wait for room in the queue of the job cache: they hold places among the
/// requests at work, and others need some too.
const MAX_HELD: usize = 512;
/// How long one waits at most. Minions give an answer up after 30 s and more.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two looks at the queue, which is emptied by megabytes.
const LOOK: Duration = Duration::from_millis(10);

/// How jobs are kept (the master's options of the same names).
pub(crate) struct Settings {
    /// `unique_jid`: ids end in `_<process id>`.
    pub(crate) unique_jid: bool,
    /// `keep_jobs_seconds`; nothing is removed when it is zero.
    pub(crate) keep: Duration,
    /// `job_cache_store_endtime`
    pub(crate) endtime: bool,
    /// `job_cache`: whether returns are kept.
    pub(crate) enabled: bool,
}

/// Why a job could not be kept.
#[derive(Debug)]
pub(crate) struct NotKept(String);

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the job cache refused: {}", self.0)
    }
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        NotKept(error.to_string())
    }
}

/// One that waits no more is not counted any more, also when its request was given up.
struct Held<'a>(&'a AtomicUsize);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Jobs {
    /// Jobs in that store.
    pub(crate) fn new(store: JobStore, settings: &Settings) -> Self {
        Jobs {
            store,
            last: Mutex::new(None),
            suffix: settings.unique_jid.then(std::process::id),
            keep: (!settings.keep.is_zero()).then_some(settings.keep),
            endtime: settings.endtime,
            enabled: settings.enabled,
            duplicates: AtomicU64::new(0),
            turns: tokio::sync::Mutex::default(),
            held: AtomicUsize::new(0),
        }
    }

    /// The job cache, for readers on blocking threads.
    pub(crate) fn store(&self) -> &JobStore {
        &self.store
    }

    /// Puts a return into the queue of the job cache; `done` is told when it would survive a
    /// crash. While the queue is full it waits its turn: who sent it would wait much longer before
    /// sending it again.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many wait, or it waited too long.
    pub(crate) async fn enqueue(
        &self,
        ret: PackedReturn,
        done: impl FnOnce(Result<Stored, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        if let Ok(_turn) = self.turns.try_lock()
            && self.store.has_room(&ret)
        {
            return self.store.enqueue_packed(ret, done);
        }
        let held = Held(&self.held);
        if self.held.fetch_add(1, Ordering::Relaxed) >= MAX_HELD {
            return Err(StoreError::Busy);
        }
        let room = async {
            let turn = self.turns.lock().await;
            while !self.store.has_room(&ret) {
                tokio::time::sleep(LOOK).await;
            }
            turn
        };
        let turn = tokio::time::timeout(PATIENCE, room).await.map_err(|_| StoreError::Busy)?;
        let queued = self.store.enqueue_packed(ret, done);
        drop((turn, held));
        queued
    }

    /// A new job id, greater than all before.
    pub(crate) fn allocate(&self) -> Jid {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let jid = Jid::after(SystemTime::now(), last.as_ref());
        *last = Some(jid.clone());
        match self.suffix {
            Some(pid) => Jid::parse(&format!("{jid}_{pid}")).unwrap_or(jid),
            None => jid,
        }
    }

    /// Keeps a job; comes back when it would survive a crash.
    ///
    /// # Errors
    /// The job cache's refusal.
    pub(crate) async fn save(&self, job: NewJob) -> Result<(), NotKept> {
        self.blocking(move |store| store.save_job(job)).await
    }

    /// Keeps a return; comes back when it would survive a crash.
    ///
    /// # Errors
    /// The job cache's refusal.
    pub(crate) async fn save_return(&self, ret: NewReturn) -> Result<Stored, NotKept> {
        if !self.enabled {
            return Ok(Stored::NotWanted);
        }
        let (done, stored) = oneshot::channel();
        self.store.enqueue_return(ret, move |result| drop(done.send(result)))?;
        Ok(stored.await.map_err(|_| NotKept("it was shut down".to_owned()))??)
    }

    /// Whether returns are kept at all (`job_cache`).
    pub(crate) fn keeps_returns(&self) -> bool {
        self.enabled
    }

    /// The text to note as the end of a job that a return arrives for now, where that is wanted
    /// (`job_cache_store_endtime`).
    pub(crate) fn endtime(&self) -> Option<String> {
        self.endtime.then(|| Jid::at(SystemTime::now()).start_time())
    }

    /// Counts a return that was there already.
    pub(crate) fn note_duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns that came again since the start; the first one stays.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Keeps the result of something that ran here without being published, such as a runner.
    /// The result itself is on the event bus.
    ///
    /// # Errors
    /// A sentence, when it is not kept.
    pub(crate) async fn record_unpublished(
        &self,
        jid: &Jid,
        id: &str,
        load: Map,
    ) -> Result<(), String> {
        let minion = MinionId::parse(id).map_err(|error| error.to_string())?;
        let ret = NewReturn {
            jid: jid.clone(),
            minion,
            value: load.get("return").cloned().unwrap_or_default(),
            retcode: None,
            success: None,
            out: None,
            load,
            origin: String::new(),
        };
        self.save_return(ret).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Removes jobs older than `keep_jobs_seconds`.
    ///
    /// # Errors
    /// The job cache's refusal.
    pub(crate) async fn expire(&self) -> Result<usize, NotKept> {
        let (waiting, bytes) = self.store.waiting();
        log::debug!(
            "{waiting} returns ({bytes} bytes) wait for the disk; {} came twice so far",
            self.duplicates()
        );
        let Some(before) = self.keep.and_then(|keep| SystemTime::now().checked_sub(keep)) else {
            return Ok(0);
        };
        self.blocking(move |store| store.expire(before)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&JobStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, NotKept> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(NotKept("the write was given up".to_owned())),
        }
    }
}

/// What a job's record shows to users: Salt's `Function`, `Arguments`, `Target`, ...
pub(crate) fn describe(load: &Map) -> Map {
    let or = |key: &str, default: &str| load.get(key).cloned().unwrap_or_else(|| default.into());
    let mut shown = Map::from([
        ("Function", or("fun", "unknown-function")),
        ("Arguments", load.get("arg").cloned().unwrap_or_else(|| Value::List(Vec::new()))),
        ("Target", or("tgt", "unknown-target")),
        ("Target-type", or("tgt_type", "list")),
        ("User", or("user", "root")),
    ]);
    let metadata = load
        .get("metadata")
        .or_else(|| load.get("kwargs").and_then(|kwargs| kwargs.get("metadata")));
    if let Some(metadata) = metadata {
        shown.insert("Metadata", metadata.clone());
    }
    shown
}
