//! The rows of the jobs that returns come for now, in memory: a return of a job that is known needs
//! no question to the database, and brings no record of its job along.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Jobs remembered; beyond that all are forgotten, which costs one question each.
const MAX: usize = 4096;

/// What a return needs to know of its job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The row.
    pub(super) id: i64,
    /// Whether no returns are kept.
    pub(super) nocache: bool,
}

/// The jobs that are known. Written by the writer only.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<HashMap<String, Row>>);

impl Known {
    pub(super) fn has(&self, jid: &str) -> bool {
        self.read().contains_key(jid)
    }

    pub(super) fn get(&self, jid: &str) -> Option<Row> {
        self.read().get(jid).copied()
    }

    pub(super) fn put(&self, jid: &str, row: Row) {
        let mut rows = self.write();
        if rows.len() >= MAX {
            rows.clear();
        }
        rows.insert(jid.to_owned(), row);
    }

    /// Forgets a job that has expired.
    pub(super) fn forget(&self, jid: &str) {
        self.write().remove(jid);
    }

    /// Forgets all: rows may be gone, because a transaction failed or the file was replaced.
    pub(super) fn clear(&self) {
        let mut rows = self.write();
        if !rows.is_empty() {
            *rows = HashMap::new();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Row>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Row>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
