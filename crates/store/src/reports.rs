//! The last failover report of every minion, in `<cachedir>/failover.sqlite` and, packed, in
//! memory. Reports arrive often and are sent again, so they are written in batches.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};
use saltern_base::MinionId;
use saltern_value::Map;
use saltern_value::msgpack::{self, Encoding};

use crate::StoreError;
use crate::db::{self, Kind};

const KIND: Kind = Kind {
    name: "table of failover reports",
    application: 0x5341_4c46,
    version: 1,
    schema: "CREATE TABLE reports (minion TEXT NOT NULL UNIQUE, received INTEGER NOT NULL,
                 report BLOB NOT NULL);",
    // Minions send all of this again.
    synchronous: "NORMAL",
};

/// A report and when it came, in seconds since the epoch.
#[derive(Clone, Debug)]
struct Kept {
    received: u64,
    report: Arc<[u8]>,
}

#[derive(Debug, Default)]
struct Known {
    reports: HashMap<String, Kept>,
    /// Ids whose report, or its removal, is not on disk yet.
    dirty: BTreeSet<String>,
}

/// The reports.
#[derive(Debug)]
pub struct Reports {
    path: PathBuf,
    known: Mutex<Known>,
    db: Mutex<Option<Connection>>,
}

impl Reports {
    /// Opens (makes) the table in `cachedir` and reads it.
    ///
    /// # Errors
    /// The file system's refusal, or a file of a newer version of this program.
    pub fn open(cachedir: &Path) -> Result<Self, StoreError> {
        let path = cachedir.join("failover.sqlite");
        let db = db::open_or_renew(&path, KIND)?;
        let (db, reports) = match read_all(&db) {
            Ok(reports) => (db, reports),
            Err(e) if db::is_damage(&e) => {
                drop(db);
                db::move_aside(&path, KIND, &e.to_string())?;
                (db::open_or_renew(&path, KIND)?, HashMap::new())
            }
            Err(e) => return Err(db::fail("read", &path)(e)),
        };
        let known = Known { reports, dirty: BTreeSet::new() };
        Ok(Reports { path, known: Mutex::new(known), db: Mutex::new(Some(db)) })
    }

    /// Keeps a report in memory; [`Reports::flush`] writes it.
    pub fn put(&self, id: &MinionId, received: u64, report: &Map) {
        let report = msgpack::encode_map(report, Encoding::Bin).into();
        let mut known = self.known();
        known.reports.insert(id.to_string(), Kept { received, report });
        known.dirty.insert(id.to_string());
    }

    /// The report of a minion, and when it came.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<(u64, Map)> {
        let kept = self.known().reports.get(id).cloned()?;
        Some((kept.received, unpack(&kept.report)?))
    }

    /// All reports by minion, with the time each came.
    #[must_use]
    pub fn all(&self) -> HashMap<String, (u64, Map)> {
        let packed = self.known().reports.clone();
        packed
            .into_iter()
            .filter_map(|(id, kept)| Some((id, (kept.received, unpack(&kept.report)?))))
            .collect()
    }

    /// Forgets the report of a minion.
    pub fn remove(&self, id: &str) {
        let mut known = self.known();
        if known.reports.remove(id).is_some() {
            known.dirty.insert(id.to_owned());
        }
    }

    /// Forgets all reports but those of these minions.
    pub fn retain(&self, wanted: impl Fn(&str) -> bool) {
        let gone: Vec<String> =
            self.known().reports.keys().filter(|id| !wanted(id)).cloned().collect();
        gone.iter().for_each(|id| self.remove(id));
    }

    /// Writes what has changed since the last time.
    ///
    /// # Errors
    /// The database's refusal; what was to be written is written the next time.
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut slot = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, changes) = self.changes();
        if ids.is_empty() {
            return Ok(());
        }
        let db = match slot.take() {
            Some(db) => db,
            None => db::open_or_renew(&self.path, KIND)?,
        };
        match write(&db, &changes) {
            Ok(()) => {
                *slot = Some(db);
                Ok(())
            }
            Err(e) => {
                self.known().dirty.extend(ids);
                if db::is_damage(&e) {
                    drop(db);
                    db::move_aside(&self.path, KIND, &e.to_string())?;
                    let mut known = self.known();
                    let all: Vec<String> = known.reports.keys().cloned().collect();
                    known.dirty.extend(all);
                } else {
                    *slot = Some(db);
                }
                Err(db::fail("write", &self.path)(e))
            }
        }
    }

    /// Takes the list of changes.
    fn changes(&self) -> (BTreeSet<String>, Vec<(String, Option<Kept>)>) {
        let mut known = self.known();
        let ids = std::mem::take(&mut known.dirty);
        let changes = ids.iter().map(|id| (id.clone(), known.reports.get(id).cloned())).collect();
        (ids, changes)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_all(db: &Connection) -> rusqlite::Result<HashMap<String, Kept>> {
    let mut statement = db.prepare("SELECT minion, received, report FROM reports")?;
    let rows = statement.query_map([], |row| {
        let report: Vec<u8> = row.get(2)?;
        let received = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        Ok((row.get(0)?, Kept { received, report: report.into() }))
    })?;
    rows.collect()
}

fn write(db: &Connection, changes: &[(String, Option<Kept>)]) -> rusqlite::Result<()> {
    let tx = db.unchecked_transaction()?;
    for (id, kept) in changes {
        match kept {
            Some(Kept { received, report }) => {
                let received = i64::try_from(*received).unwrap_or(i64::MAX);
                tx.prepare_cached(
                    "INSERT INTO reports (minion, received, report) VALUES (?1, ?2, ?3)
                     ON CONFLICT (minion) DO UPDATE SET received = excluded.received,
                         report = excluded.report",
                )?
                .execute(params![id, received, &report[..]])?;
            }
            None => {
                tx.prepare_cached("DELETE FROM reports WHERE minion = ?1")?.execute([id])?;
            }
        }
    }
    tx.commit()
}

fn unpack(bytes: &[u8]) -> Option<Map> {
    msgpack::from_file(bytes).ok()?.into_map()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn id(text: &str) -> MinionId {
        MinionId::parse(text).unwrap()
    }

    #[test]
    fn reports_outlive_the_process_and_not_their_key() {
        let scratch = Scratch::new();
        let report = Map::from([("spool", 3)]);
        {
            let reports = Reports::open(scratch.path()).unwrap();
            reports.put(&id("web1"), 10, &report);
            reports.put(&id("web1"), 20, &report);
            reports.put(&id("web2"), 20, &report);
            reports.put(&id("web3"), 20, &report);
            reports.flush().unwrap();
            reports.remove("web2");
            reports.retain(|id| id != "web3");
            reports.flush().unwrap();
            reports.put(&id("web4"), 30, &report);
            assert_eq!(reports.all().len(), 2);
        }
        let reports = Reports::open(scratch.path()).unwrap();
        assert_eq!(reports.get("web1"), Some((20, report)));
        assert_eq!(reports.all().len(), 1, "web4 was never written");
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let scratch = Scratch::new();
        std::fs::write(scratch.path().join("failover.sqlite"), [7; 4096]).unwrap();
        let reports = Reports::open(scratch.path()).unwrap();
        reports.put(&id("web1"), 10, &Map::new());
        reports.flush().unwrap();
        assert_eq!(Reports::open(scratch.path()).unwrap().all().len(), 1);
    }
}
