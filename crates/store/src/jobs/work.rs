//! What the writer thread is asked to do, and the statements that do it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

use super::{NewJob, NewReturn, Stored};
use crate::StoreError;

pub(super) type Done = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

/// One operation in the queue.
pub(super) struct Op {
    pub(super) work: Work,
    /// A caller is blocked on it.
    pub(super) urgent: bool,
    /// Bytes it holds in memory.
    pub(super) size: usize,
    /// Told what became of it, when it lasts.
    pub(super) done: Option<Done>,
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Op").field("size", &self.size).finish_non_exhaustive()
    }
}

/// What became of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Done,
    Return(Stored),
    /// So many jobs went; more are left when the flag is set.
    Expired {
        jobs: usize,
        more: bool,
    },
}

/// What to do. Values are packed by the caller's thread, not by the writer's.
pub(super) enum Work {
    Job(JobRow),
    Minions {
        jid: String,
        add: Vec<String>,
    },
    Return(ReturnRow),
    EndTime {
        jid: String,
        text: String,
    },
    Expire {
        before: i64,
    },
    /// Nothing: everything put in earlier lasts when this is done.
    Flush,
    /// The file was found damaged by a reader that had opened this generation of it.
    Damaged {
        generation: u64,
        message: String,
    },
}

pub(super) struct JobRow {
    jid: String,
    created: i64,
    fun: String,
    nocache: bool,
    minions: Vec<u8>,
    load: Vec<u8>,
}

pub(super) struct ReturnRow {
    minion: String,
    value: Vec<u8>,
    retcode: Option<i64>,
    success: Option<bool>,
    out: Option<String>,
    origin: String,
    /// Kept when the job is not known.
    job: JobRow,
}

impl JobRow {
    pub(super) fn new(job: NewJob, now: SystemTime) -> Self {
        JobRow {
            jid: job.jid.as_str().to_owned(),
            created: micros(now),
            fun: fun_of(&job.load),
            nocache: job.nocache,
            minions: pack_ids(job.minions),
            load: msgpack::encode_map(&job.load, Encoding::Bin),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.minions.len() + self.load.len() + 200
    }
}

impl ReturnRow {
    pub(super) fn new(ret: NewReturn, now: SystemTime) -> Self {
        let mut load = ret.load;
        load.remove("return");
        let minion = ret.minion.as_str().to_owned();
        let job = NewJob { jid: ret.jid, load, minions: vec![minion.clone()], nocache: false };
        ReturnRow {
            minion,
            value: msgpack::encode(&ret.value, Encoding::Bin),
            retcode: ret.retcode,
            success: ret.success,
            out: ret.out,
            origin: ret.origin,
            job: JobRow::new(job, now),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.value.len() + self.job.size()
    }
}

/// The function of a load: a text, or the first of several (`salt '*' a.b,c.d 1,2`).
pub(super) fn fun_of(load: &Map) -> String {
    match load.get("fun") {
        Some(Value::Str(fun)) => fun.clone(),
        Some(Value::List(funs)) => {
            funs.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}

pub(super) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn from_micros(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(super) fn pack_ids(mut ids: Vec<String>) -> Vec<u8> {
    ids.sort_unstable();
    ids.dedup();
    msgpack::encode(&Value::from(ids), Encoding::Bin)
}

pub(super) fn unpack_ids(bytes: &[u8]) -> Vec<String> {
    let list = msgpack::from_file(bytes).unwrap_or_default();
    let texts = list.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Jobs removed per transaction: the writer stays free for returns.
const EXPIRE_STEP: i64 = 200;
/// Pages given back to the file system per step.
const VACUUM_PAGES: u32 = 2000;

/// Does one operation, inside of the batch's transaction.
pub(super) fn apply(db: &Connection, work: &Work) -> rusqlite::Result<Outcome> {
    match work {
        Work::Job(job) => save_job(db, job).map(|()| Outcome::Done),
        Work::Minions { jid, add } => add_minions(db, jid, add).map(|()| Outcome::Done),
        Work::Return(ret) => save_return(db, ret).map(Outcome::Return),
        Work::EndTime { jid, text } => db
            .prepare_cached("UPDATE jobs SET endtime = ?2 WHERE jid = ?1")?
            .execute(params![jid, text])
            .map(|_| Outcome::Done),
        Work::Expire { before } => expire(db, *before),
        Work::Flush | Work::Damaged { .. } => Ok(Outcome::Done),
    }
}

fn save_job(db: &Connection, job: &JobRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO jobs (jid, created, fun, nocache, from_return, minions, load)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)
         ON CONFLICT (jid) DO UPDATE SET fun = excluded.fun, nocache = excluded.nocache,
             from_return = 0, minions = excluded.minions, load = excluded.load",
    )?
    .execute(params![job.jid, job.created, job.fun, job.nocache, job.minions, job.load])?;
    Ok(())
}

fn add_minions(db: &Connection, jid: &str, add: &[String]) -> rusqlite::Result<()> {
    let old: Option<Vec<u8>> = db
        .prepare_cached("SELECT minions FROM jobs WHERE jid = ?1")?
        .query_row([jid], |r| r.get(0))
        .optional()?;
    if let Some(old) = old {
        let mut ids = unpack_ids(&old);
        ids.extend_from_slice(add);
        db.prepare_cached("UPDATE jobs SET minions = ?2 WHERE jid = ?1")?
            .execute(params![jid, pack_ids(ids)])?;
    }
    Ok(())
}

fn save_return(db: &Connection, ret: &ReturnRow) -> rusqlite::Result<Stored> {
    let known: Option<(i64, bool, bool)> = db
        .prepare_cached("SELECT id, nocache, from_return FROM jobs WHERE jid = ?1")?
        .query_row([&ret.job.jid], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    let id = match known {
        Some((_, true, _)) => return Ok(Stored::NotWanted),
        Some((id, false, from_return)) => {
            if from_return {
                add_minions(db, &ret.job.jid, std::slice::from_ref(&ret.minion))?;
            }
            id
        }
        None => {
            let job = &ret.job;
            db.prepare_cached(
                "INSERT INTO jobs (jid, created, fun, nocache, from_return, minions, load)
                 VALUES (?1, ?2, ?3, 0, 1, ?4, ?5)",
            )?
            .insert(params![job.jid, job.created, job.fun, job.minions, job.load])?
        }
    };
    // The first return stays: a later one is a retry, or a replay.
    let mut insert: CachedStatement<'_> = db.prepare_cached(
        "INSERT OR IGNORE INTO returns
             (job, minion, received, retcode, success, out, origin, value)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let rows = insert.execute(params![
        id,
        ret.minion,
        ret.job.created,
        ret.retcode,
        ret.success,
        ret.out,
        ret.origin,
        ret.value
    ])?;
    Ok(if rows == 0 { Stored::Duplicate } else { Stored::New })
}

fn expire(db: &Connection, before: i64) -> rusqlite::Result<Outcome> {
    const OLD: &str = "SELECT id FROM jobs WHERE created < ?1 ORDER BY created LIMIT ?2";
    db.prepare_cached(&format!("DELETE FROM returns WHERE job IN ({OLD})"))?
        .execute(params![before, EXPIRE_STEP])?;
    let jobs = db
        .prepare_cached(&format!("DELETE FROM jobs WHERE id IN ({OLD})"))?
        .execute(params![before, EXPIRE_STEP])?;
    let more = jobs as i64 == EXPIRE_STEP;
    Ok(Outcome::Expired { jobs, more })
}

/// Gives free pages back to the file system, outside of a transaction.
pub(super) fn vacuum(db: &Connection) -> rusqlite::Result<()> {
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
