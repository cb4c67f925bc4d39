//! Reading the job cache, over connections of its own that never hold the writer up.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};
use saltern_base::Jid;
use saltern_target::Glob;
use saltern_value::{Map, Value, msgpack};

use super::queue::Wait;
use super::work::{Op, Work, from_micros, micros, unpack_ids};
use super::writer::Shared;
use super::{JobFilter, JobRecord, StoredReturn};
use crate::StoreError;
use crate::db;

/// Questions answered at a time: a long answer does not hold up all others, and the memory for
/// answers stays bounded.
pub(super) const AT_ONCE: usize = 4;

/// The reading connections, opened when they are needed, anew when the file was replaced.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Option<(u64, Connection)>,
    at_work: usize,
}

const JOB: &str = "SELECT jid, created, endtime, from_return, minions, load FROM jobs";
/// As [`JOB`], without the expected minions, which of a large fleet are most of a job.
const LISTED: &str = "SELECT jid, created, endtime, from_return, x'', load FROM jobs";
const RETURN: &str = "SELECT r.minion, r.received, r.retcode, r.success, r.out, r.origin, r.value
     FROM returns r JOIN jobs j ON j.id = r.job";
const ANSWERED: &str =
    "SELECT r.minion FROM returns r JOIN jobs j ON j.id = r.job WHERE j.jid = ?1";

impl Reader {
    /// Asks `question`; damage is reported to the writer, which begins a new file.
    pub(super) fn ask<T>(
        &self,
        shared: &Arc<Shared>,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let generation = shared.generation.load(Ordering::Acquire);
        let mut place = self.place(generation);
        let db = match place.db.take() {
            Some(db) => db,
            None => db::open_reader(&shared.path).map_err(db::fail("open", &shared.path))?,
        };
        match question(&db) {
            Ok(answer) => {
                place.db = Some(db);
                Ok(answer)
            }
            Err(e) => {
                if db::is_damage(&e) {
                    let work = Work::Damaged { generation, message: e.to_string() };
                    let op = Op { work, urgent: true, size: 0, done: None };
                    // When it cannot be queued, the next question reports it again.
                    drop(shared.queue.push(op, Wait::No));
                }
                Err(db::fail("read", &shared.path)(e))
            }
        }
    }

    /// A place among those that are answered at a time, with the idle connection if there is one.
    fn place(&self, generation: u64) -> Place<'_> {
        let full = |pool: &mut Pool| pool.at_work >= AT_ONCE;
        let pool = self.returned.wait_while(self.lock(), full);
        let mut pool = pool.unwrap_or_else(PoisonError::into_inner);
        pool.at_work += 1;
        let idle = pool.idle.take().filter(|(opened, _)| *opened == generation);
        Place { reader: self, generation, db: idle.map(|(_, db)| db) }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while a question is answered; gives its connection back.
struct Place<'a> {
    reader: &'a Reader,
    generation: u64,
    db: Option<Connection>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pool = self.reader.lock();
        pool.at_work -= 1;
        if let Some(db) = self.db.take() {
            // Of several that were open one stays: each has a cache of its own.
            pool.idle = Some((self.generation, db));
        }
        drop(pool);
        self.reader.returned.notify_one();
    }
}

pub(super) fn job(db: &Connection, jid: &Jid) -> rusqlite::Result<Option<JobRecord>> {
    let found = db
        .prepare_cached(&format!("{JOB} WHERE jid = ?1"))?
        .query_row([jid.as_str()], read_job)
        .optional()?;
    let Some(mut job) = found else { return Ok(None) };
    add_answered(db, &mut job)?;
    Ok(Some(job))
}

/// A job that nobody here published was meant for whoever answered it: no list of them is kept,
/// which would be written anew with each return.
fn add_answered(db: &Connection, job: &mut JobRecord) -> rusqlite::Result<()> {
    if !job.from_return {
        return Ok(());
    }
    let mut answered = db.prepare_cached(ANSWERED)?;
    for id in answered.query_map([job.jid.as_str()], |r| r.get::<_, String>(0))? {
        job.minions.push(id?);
    }
    job.minions.sort_unstable();
    job.minions.dedup();
    Ok(())
}

pub(super) fn returns(db: &Connection, jid: &Jid) -> rusqlite::Result<Vec<StoredReturn>> {
    db.prepare_cached(&format!("{RETURN} WHERE j.jid = ?1 ORDER BY r.minion"))?
        .query_map([jid.as_str()], read_return)?
        .collect()
}

pub(super) fn return_of(
    db: &Connection,
    jid: &Jid,
    minion: &str,
) -> rusqlite::Result<Option<StoredReturn>> {
    db.prepare_cached(&format!("{RETURN} WHERE j.jid = ?1 AND r.minion = ?2"))?
        .query_row([jid.as_str(), minion], read_return)
        .optional()
}

pub(super) fn list(db: &Connection, filter: &JobFilter) -> rusqlite::Result<Vec<JobRecord>> {
    let order = if filter.limit.is_some() { "DESC" } else { "ASC" };
    let globs = |patterns: &[String]| patterns.iter().map(|p| Glob::new(p)).collect::<Vec<_>>();
    let (functions, targets) = (globs(&filter.functions), globs(&filter.targets));
    // A job id begins with its start time; `~` sorts behind any suffix.
    let first = filter.start.map_or_else(String::new, |t| Jid::at(t).to_string());
    let last = filter.end.map_or_else(|| "~".to_owned(), |t| format!("{}~", Jid::at(t)));
    let sql =
        format!("SELECT fun, id FROM jobs WHERE jid >= ?1 AND jid <= ?2 ORDER BY jid {order}");
    let mut ids = db.prepare_cached(&sql)?;
    let mut by_id = db.prepare_cached(&format!("{LISTED} WHERE id = ?1"))?;
    let mut rows = ids.query(params![first, last])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if filter.limit.is_some_and(|limit| found.len() >= limit) {
            break;
        }
        let fun: String = row.get(0)?;
        // The name alone often decides, so the load is unpacked after it.
        if !functions.is_empty() && !functions.iter().any(|glob| glob.matches(&fun)) {
            continue;
        }
        let job = by_id.query_row([row.get::<_, i64>(1)?], read_job)?;
        if wanted(&job.load, &targets, filter.metadata.as_ref()) {
            found.push(job);
        }
    }
    Ok(found)
}

fn wanted(load: &Map, targets: &[Glob], metadata: Option<&Map>) -> bool {
    let named = |target: &Value| {
        target.as_str().is_some_and(|text| targets.iter().any(|glob| glob.matches(text)))
    };
    let target_fits = targets.is_empty()
        || match load.get("tgt") {
            Some(Value::List(list)) => list.iter().any(named),
            Some(target) => named(target),
            None => false,
        };
    let metadata_fits = metadata.is_none_or(|wanted| {
        let have =
            load.get("metadata").or_else(|| load.get("kwargs").and_then(|k| k.get("metadata")));
        let have = have.and_then(Value::as_map);
        have.is_some_and(|have| wanted.iter().any(|(k, v)| have.get_value(k) == Some(v)))
    });
    target_fits && metadata_fits
}

pub(super) fn unfinished(
    db: &Connection,
    since: SystemTime,
) -> rusqlite::Result<Vec<(JobRecord, Vec<String>)>> {
    let mut jobs = db.prepare_cached(&format!("{JOB} WHERE created >= ?1 ORDER BY jid"))?;
    let mut answered = db.prepare_cached(ANSWERED)?;
    let mut found = Vec::new();
    for job in jobs.query_map([micros(since)], read_job)? {
        let job = job?;
        let done = answered
            .query_map([job.jid.as_str()], |r| r.get::<_, String>(0))?
            .collect::<rusqlite::Result<std::collections::HashSet<_>>>()?;
        let missing: Vec<String> =
            job.minions.iter().filter(|id| !done.contains(*id)).cloned().collect();
        if !missing.is_empty() {
            found.push((job, missing));
        }
    }
    Ok(found)
}

fn read_job(row: &Row<'_>) -> rusqlite::Result<JobRecord> {
    let text: String = row.get(0)?;
    let jid = Jid::parse(&text).map_err(|e| conversion(0, e))?;
    let minions: Vec<u8> = row.get(4)?;
    let load: Vec<u8> = row.get(5)?;
    let load = msgpack::from_file(&load).map_err(|e| conversion(5, e))?;
    Ok(JobRecord {
        jid,
        load: load.into_map().unwrap_or_default(),
        minions: unpack_ids(&minions),
        created: from_micros(row.get(1)?),
        endtime: row.get(2)?,
        from_return: row.get(3)?,
    })
}

fn read_return(row: &Row<'_>) -> rusqlite::Result<StoredReturn> {
    let value: Vec<u8> = row.get(6)?;
    Ok(StoredReturn {
        minion: row.get(0)?,
        value: msgpack::from_file(&value).map_err(|e| conversion(6, e))?,
        retcode: row.get(2)?,
        success: row.get(3)?,
        out: row.get(4)?,
        received: from_micros(row.get(1)?),
        origin: row.get(5)?,
    })
}

fn conversion(column: usize, e: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Blob;
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(e))
}
