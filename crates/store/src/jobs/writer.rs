//! The one thread that writes the job cache: batches of operations, one commit each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::Stored;
use super::expiry;
use super::known::Known;
use super::queue::Queue;
use super::work::{self, Op, Outcome, Work};
use crate::StoreError;
use crate::db::{self, Kind};

pub(super) const KIND: Kind = Kind {
    name: "job cache",
    application: 0x5341_4c4a,
    version: 1,
    schema: "
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY, jid TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
            fun TEXT NOT NULL, nocache INTEGER NOT NULL, from_return INTEGER NOT NULL,
            endtime TEXT, minions BLOB NOT NULL, load BLOB NOT NULL);
        CREATE INDEX jobs_created ON jobs (created);
        CREATE TABLE returns (
            job INTEGER NOT NULL, minion TEXT NOT NULL, received INTEGER NOT NULL,
            retcode INTEGER, success INTEGER, out TEXT, origin TEXT NOT NULL, value BLOB NOT NULL);
        CREATE UNIQUE INDEX returns_key ON returns (job, minion);",
    synchronous: "FULL",
};

/// What readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) queue: Queue,
    /// Counts the files: grows when a damaged one is replaced.
    pub(super) generation: AtomicU64,
    pub(super) known: Known,
}

/// So many batches are written between two steps of giving room back, unless nobody waits.
const BATCHES: u32 = 16;

/// Works until the queue is closed and empty.
pub(super) fn run(shared: &Arc<Shared>, db: Connection, linger: Duration) {
    let mut writer = Writer { shared, db: Some(db), shrinking: false };
    let mut batches = 0;
    while let Some(mut batch) = shared.queue.take(linger, writer.shrinking) {
        if !batch.is_empty() {
            let results = writer.write(&batch);
            for (op, result) in batch.iter_mut().zip(results) {
                writer.tell(op, result);
            }
            batches += 1;
        }
        if writer.shrinking && (batch.is_empty() || batches >= BATCHES) {
            batches = 0;
            writer.shrink();
        }
    }
}

struct Writer<'a> {
    shared: &'a Arc<Shared>,
    /// `None` after a failure to open a new file.
    db: Option<Connection>,
    /// There may be room to give back.
    shrinking: bool,
}

type Results = Vec<Result<Outcome, StoreError>>;

impl Writer<'_> {
    fn write(&mut self, batch: &[Op]) -> Results {
        for op in batch {
            if let Work::Damaged { generation, message } = &op.work
                && *generation == self.shared.generation.load(Ordering::Acquire)
            {
                self.renew(message);
            }
        }
        let shared = self.shared;
        for last_try in [false, true] {
            let Some(db) = self.db() else { break };
            match write_batch(db, &shared.known, batch, &shared.path) {
                Ok(results) => return results,
                Err(e) => {
                    shared.known.clear();
                    if last_try || !db::is_damage(&e) {
                        return all_failed(batch, &shared.path, &e.to_string());
                    }
                    self.renew(&e.to_string());
                }
            }
        }
        all_failed(batch, &shared.path, "the file cannot be opened")
    }

    fn db(&mut self) -> Option<&Connection> {
        if self.db.is_none() {
            match db::open_or_renew(&self.shared.path, KIND) {
                Ok(db) => self.db = Some(db),
                Err(e) => log::error!("{e}"),
            }
        }
        self.db.as_ref()
    }

    /// Puts the damaged file aside and begins a new one.
    fn renew(&mut self, message: &str) {
        self.db = None;
        self.shared.known.clear();
        if let Err(e) = db::move_aside(&self.shared.path, KIND, message) {
            log::error!("{e}");
        }
        self.db();
        // Only now may readers look for the new file.
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn tell(&mut self, op: &mut Op, result: Result<Outcome, StoreError>) {
        match (&op.work, &result) {
            (Work::Expire { before }, Ok(Outcome::Expired { jobs, more: true })) => {
                return self.expire_on(*before, *jobs, op.done.take());
            }
            // Only now: what is moved to the front must not be about to go.
            (Work::Expire { .. }, Ok(_)) => self.shrinking = true,
            _ => {}
        }
        if let Some(done) = op.done.take() {
            done(result);
        }
    }

    /// Asks for the next step of a long expiry; the sum is told at its end.
    fn expire_on(&self, before: i64, so_far: usize, done: Option<work::Done>) {
        let done = done.map(|done| -> work::Done {
            Box::new(move |result| {
                done(result.map(|outcome| match outcome {
                    Outcome::Expired { jobs, more } => {
                        Outcome::Expired { jobs: jobs + so_far, more }
                    }
                    other => other,
                }));
            })
        });
        let urgent = done.is_some();
        let op = Op { work: Work::Expire { before }, urgent, size: 0, done };
        if let Some(Op { done: Some(done), .. }) = self.shared.queue.go_on(op) {
            done(Ok(Outcome::Expired { jobs: 0, more: true }));
        }
    }

    fn shrink(&mut self) {
        let more = self.db.as_ref().map_or(Ok(false), expiry::shrink);
        self.shrinking = more.unwrap_or_else(|e| {
            log::warn!("cannot shrink {}: {e}", self.shared.path.display());
            false
        });
    }
}

fn write_batch(
    db: &Connection,
    known: &Known,
    batch: &[Op],
    path: &Path,
) -> rusqlite::Result<Results> {
    let tx = db.unchecked_transaction()?;
    let mut results: Results = Vec::with_capacity(batch.len());
    for op in batch {
        match work::apply(&tx, known, &op.work) {
            Ok(outcome) => results.push(Ok(outcome)),
            // The disk is full or the like: the database has rolled everything back.
            Err(e) if db::is_damage(&e) || db.is_autocommit() => return Err(e),
            Err(e) => results.push(Err(db::fail("write", path)(e))),
        }
    }
    // A job's row may be long: its time is written once for all returns that share the commit.
    let mut ends = HashMap::new();
    for (op, result) in batch.iter().zip(&results) {
        if let (Work::Return(ret), Ok(Outcome::Return(Stored::New))) = (&op.work, result)
            && let Some(text) = &ret.endtime
        {
            ends.insert(ret.jid.as_str(), text.as_str());
        }
    }
    for (jid, text) in ends {
        work::set_endtime(&tx, jid, text)?;
    }
    tx.commit()?;
    Ok(results)
}

fn all_failed(batch: &[Op], path: &Path, message: &str) -> Results {
    log::error!("cannot write {}: {message}", path.display());
    let what = format!("write {}", path.display());
    batch
        .iter()
        .map(|_| Err(StoreError::Database { what: what.clone(), message: message.to_owned() }))
        .collect()
}
