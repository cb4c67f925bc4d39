//! What the writer thread is asked to do, and the statements that do it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use saltern_base::Jid;
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

use super::expiry;
use super::known::{Known, Row};
use super::{NewJob, NewReturn, ReturnParts, Stored};
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
    pub(super) jid: Jid,
    minion: String,
    received: i64,
    value: Vec<u8>,
    retcode: Option<i64>,
    success: Option<bool>,
    out: Option<String>,
    origin: String,
    pub(super) endtime: Option<String>,
    /// Kept when the job is not known; not made when it was known already.
    job: Option<Box<JobRow>>,
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
        let parts = ReturnParts {
            jid: &ret.jid,
            minion: &ret.minion,
            value: &ret.value,
            retcode: ret.retcode,
            success: ret.success,
            out: ret.out.as_deref(),
            origin: &ret.origin,
            endtime: None,
            job: Some(load),
        };
        ReturnRow::of(parts, now)
    }

    pub(super) fn of(parts: ReturnParts<'_>, now: SystemTime) -> Self {
        let job = parts.job.map(|load| {
            let (jid, minions) = (parts.jid.clone(), vec![parts.minion.to_string()]);
            Box::new(JobRow::new(NewJob { jid, load, minions, nocache: false }, now))
        });
        ReturnRow {
            jid: parts.jid.clone(),
            minion: parts.minion.as_str().to_owned(),
            received: micros(now),
            value: msgpack::encode(parts.value, Encoding::Bin),
            retcode: parts.retcode,
            success: parts.success,
            out: parts.out.map(str::to_owned),
            origin: parts.origin.to_owned(),
            endtime: parts.endtime,
            job,
        }
    }

    /// What waits with it, to be told when it is kept, is about as large as itself.
    pub(super) fn size(&self) -> usize {
        2 * self.value.len() + 600 + self.job.as_ref().map_or(0, |job| job.size())
    }

    /// The record of its job, when that is known no more: a job that expired while the return was
    /// on its way has lost its own.
    fn record(&self) -> JobRow {
        let load = Map::from([
            ("jid", self.jid.as_str()),
            ("id", self.minion.as_str()),
            ("tgt", self.minion.as_str()),
            ("tgt_type", "glob"),
        ]);
        let (jid, minions) = (self.jid.clone(), vec![self.minion.clone()]);
        let job = NewJob { jid, load, minions, nocache: false };
        JobRow::new(job, from_micros(self.received))
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

/// Does one operation, inside of the batch's transaction.
pub(super) fn apply(db: &Connection, known: &Known, work: &Work) -> rusqlite::Result<Outcome> {
    match work {
        Work::Job(job) => save_job(db, known, job).map(|()| Outcome::Done),
        Work::Minions { jid, add } => add_minions(db, jid, add).map(|()| Outcome::Done),
        Work::Return(ret) => save_return(db, known, ret).map(Outcome::Return),
        Work::EndTime { jid, text } => set_endtime(db, jid, text).map(|()| Outcome::Done),
        Work::Expire { before } => expiry::expire(db, known, *before),
        Work::Flush | Work::Damaged { .. } => Ok(Outcome::Done),
    }
}

pub(super) fn set_endtime(db: &Connection, jid: &str, text: &str) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE jobs SET endtime = ?2 WHERE jid = ?1")?
        .execute(params![jid, text])?;
    Ok(())
}

fn save_job(db: &Connection, known: &Known, job: &JobRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO jobs (jid, created, fun, nocache, from_return, minions, load)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)
         ON CONFLICT (jid) DO UPDATE SET fun = excluded.fun, nocache = excluded.nocache,
             from_return = 0, minions = excluded.minions, load = excluded.load",
    )?
    .execute(params![job.jid, job.created, job.fun, job.nocache, job.minions, job.load])?;
    if let Some(row) = find(db, &job.jid)? {
        known.put(&job.jid, row);
    }
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

fn find(db: &Connection, jid: &str) -> rusqlite::Result<Option<Row>> {
    db.prepare_cached("SELECT id, nocache FROM jobs WHERE jid = ?1")?
        .query_row([jid], |r| Ok(Row { id: r.get(0)?, nocache: r.get(1)? }))
        .optional()
}

/// The row of a return's job; made when there is none.
fn job_of(db: &Connection, known: &Known, ret: &ReturnRow) -> rusqlite::Result<Row> {
    if let Some(row) = known.get(ret.jid.as_str()) {
        return Ok(row);
    }
    let row = match find(db, ret.jid.as_str())? {
        Some(row) => row,
        None => {
            let bare;
            let job = match &ret.job {
                Some(job) => job,
                None => {
                    bare = ret.record();
                    &bare
                }
            };
            let id = db
                .prepare_cached(
                    "INSERT INTO jobs (jid, created, fun, nocache, from_return, minions, load)
                     VALUES (?1, ?2, ?3, 0, 1, ?4, ?5)",
                )?
                .insert(params![job.jid, job.created, job.fun, job.minions, job.load])?;
            Row { id, nocache: false }
        }
    };
    known.put(ret.jid.as_str(), row);
    Ok(row)
}

fn save_return(db: &Connection, known: &Known, ret: &ReturnRow) -> rusqlite::Result<Stored> {
    let job = job_of(db, known, ret)?;
    if job.nocache {
        return Ok(Stored::NotWanted);
    }
    // The first return stays: a later one is a retry, or a replay.
    let mut insert: CachedStatement<'_> = db.prepare_cached(
        "INSERT OR IGNORE INTO returns
             (job, minion, received, retcode, success, out, origin, value)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let rows = insert.execute(params![
        job.id,
        ret.minion,
        ret.received,
        ret.retcode,
        ret.success,
        ret.out,
        ret.origin,
        ret.value
    ])?;
    Ok(if rows == 0 { Stored::Duplicate } else { Stored::New })
}
