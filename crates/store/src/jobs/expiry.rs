//! Removing what is old and giving its room on the disk back: both in steps of bounded time, since
//! returns that come meanwhile wait for the end of a step.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::known::Known;
use super::work::Outcome;

/// Time after which a step ends.
const STEP: Duration = Duration::from_millis(20);
/// Returns removed between two looks at the clock. They may be large, and each page of one is
/// touched.
const ROWS: usize = 16;
/// Pages given back between two looks at the clock: one commit.
const PAGES: i64 = 250;
/// Free pages that are kept for what comes next: a cache that loses as much each minute as it gains
/// neither shrinks nor grows. One page of so many, and a few megabytes.
const KEPT: i64 = 5;
const KEPT_LEAST: i64 = 1000;

/// Removes the oldest jobs by the index of their times, each with its returns by theirs.
pub(super) fn expire(db: &Connection, known: &Known, before: i64) -> rusqlite::Result<Outcome> {
    let began = Instant::now();
    let mut oldest =
        db.prepare_cached("SELECT id, jid FROM jobs WHERE created < ?1 ORDER BY created LIMIT 1")?;
    let mut returns = db.prepare_cached(
        "DELETE FROM returns WHERE rowid IN (SELECT rowid FROM returns WHERE job = ?1 LIMIT ?2)",
    )?;
    let mut job = db.prepare_cached("DELETE FROM jobs WHERE id = ?1")?;
    let mut jobs = 0;
    loop {
        let found = oldest.query_row([before], |r| Ok((r.get(0)?, r.get(1)?)));
        let Some((id, jid)): Option<(i64, String)> = found.optional()? else {
            return Ok(Outcome::Expired { jobs, more: false });
        };
        if returns.execute(params![id, ROWS as i64])? < ROWS {
            known.forget(&jid);
            job.execute([id])?;
            jobs += 1;
        }
        if began.elapsed() >= STEP {
            return Ok(Outcome::Expired { jobs, more: true });
        }
    }
}

/// Gives free pages back to the file system, outside of a transaction; whether there are more to
/// give.
pub(super) fn shrink(db: &Connection) -> rusqlite::Result<bool> {
    let began = Instant::now();
    let mut free = free_pages(db)?;
    loop {
        let kept = (pages(db)? / KEPT).max(KEPT_LEAST);
        if free <= kept {
            return checkpoint(db).map(|()| false);
        }
        let spare = (free - kept).min(PAGES);
        let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({spare})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        let before = std::mem::replace(&mut free, free_pages(db)?);
        if free >= before {
            return checkpoint(db).map(|()| false);
        }
        if began.elapsed() >= STEP {
            return Ok(true);
        }
    }
}

/// The file gets shorter only when the log is written back to it, which a few commits are not
/// reason enough for. Waits for nobody who reads.
fn checkpoint(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

fn free_pages(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA freelist_count", [], |r| r.get(0))
}

fn pages(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA page_count", [], |r| r.get(0))
}
