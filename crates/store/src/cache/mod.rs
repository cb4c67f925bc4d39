//! The minion data cache: grains, pillar and mine of every minion, kept over restarts in
//! `<cachedir>/minions.sqlite`; grains are also held in memory, packed, for targeting.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::{Connection, OptionalExtension, params};
use saltern_base::MinionId;
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

use crate::StoreError;
use crate::db::{self, Kind};

const KIND: Kind = Kind {
    name: "minion data cache",
    application: 0x5341_4c4d,
    version: 1,
    schema: "
        CREATE TABLE data (minion TEXT NOT NULL UNIQUE, grains BLOB, pillar BLOB);
        CREATE TABLE mine (minion TEXT NOT NULL, fun TEXT NOT NULL, value BLOB NOT NULL);
        CREATE UNIQUE INDEX mine_key ON mine (minion, fun);",
    // Minions send all of this again, so it only has to last over a crash of the process.
    synchronous: "NORMAL",
};

/// What is in memory of one minion.
#[derive(Clone, Debug, Default)]
struct Known {
    grains: Option<Arc<[u8]>>,
    /// Tells whether a pillar is the one on disk, without keeping it.
    pillar_digest: Option<u64>,
}

/// The minion data cache.
#[derive(Debug)]
pub struct DataCache {
    path: PathBuf,
    known: RwLock<HashMap<String, Known>>,
    db: Mutex<Option<Connection>>,
}

impl DataCache {
    /// Opens (makes) the cache in `cachedir` and reads all grains into memory.
    ///
    /// # Errors
    /// The file system's refusal, or a file of a newer version of this program.
    pub fn open(cachedir: &Path) -> Result<Self, StoreError> {
        let path = cachedir.join("minions.sqlite");
        let db = db::open_or_renew(&path, KIND)?;
        let (db, known) = match read_all(&db) {
            Ok(known) => (db, known),
            Err(e) if db::is_damage(&e) => {
                drop(db);
                db::move_aside(&path, KIND, &e.to_string())?;
                (db::open_or_renew(&path, KIND)?, HashMap::new())
            }
            Err(e) => return Err(db::fail("read", &path)(e)),
        };
        Ok(DataCache { path, known: RwLock::new(known), db: Mutex::new(Some(db)) })
    }

    /// Keeps the grains of a minion (from `_pillar`), and its pillar when given. Nothing is
    /// written when both are as before.
    ///
    /// # Errors
    /// The database's refusal; memory is updated all the same.
    pub fn store(
        &self,
        id: &MinionId,
        grains: &Map,
        pillar: Option<&Map>,
    ) -> Result<(), StoreError> {
        let grains: Arc<[u8]> = msgpack::encode_map(grains, Encoding::Bin).into();
        let pillar = pillar.map(|pillar| msgpack::encode_map(pillar, Encoding::Bin));
        let digest = pillar.as_deref().map(digest);
        {
            let mut known = self.write();
            let entry = known.entry(id.to_string()).or_default();
            let same_grains = entry.grains.as_deref() == Some(&*grains);
            if same_grains && (digest.is_none() || digest == entry.pillar_digest) {
                return Ok(());
            }
            entry.grains = Some(Arc::clone(&grains));
            entry.pillar_digest = digest.or(entry.pillar_digest);
        }
        self.change(|db| {
            db.prepare_cached(
                "INSERT INTO data (minion, grains, pillar) VALUES (?1, ?2, ?3)
                 ON CONFLICT (minion) DO UPDATE SET grains = excluded.grains,
                     pillar = coalesce(excluded.pillar, pillar)",
            )?
            .execute(params![id.as_str(), &grains[..], pillar])
            .map(|_| ())
        })
    }

    /// The grains of a minion.
    #[must_use]
    pub fn grains(&self, id: &str) -> Option<Map> {
        unpack(&self.grains_packed(id)?)
    }

    /// Some grains of a minion: those named, and those whose name is no text. The others are not
    /// unpacked.
    #[must_use]
    pub fn grains_picked(&self, id: &str, names: &[&str]) -> Option<Map> {
        msgpack::pick(&self.grains_packed(id)?, names).ok()
    }

    /// The packed grains of a minion (MessagePack), without unpacking.
    #[must_use]
    pub fn grains_packed(&self, id: &str) -> Option<Arc<[u8]>> {
        self.read().get(id)?.grains.clone()
    }

    /// Whether anything is known about the minion's grains.
    #[must_use]
    pub fn has_grains(&self, id: &str) -> bool {
        self.read().get(id).is_some_and(|known| known.grains.is_some())
    }

    /// The pillar of a minion as last compiled.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn pillar(&self, id: &str) -> Result<Option<Map>, StoreError> {
        let packed: Option<Option<Vec<u8>>> = self.change(|db| {
            db.prepare_cached("SELECT pillar FROM data WHERE minion = ?1")?
                .query_row([id], |r| r.get(0))
                .optional()
        })?;
        Ok(packed.flatten().and_then(|bytes| unpack(&bytes)))
    }

    /// Sorted ids of all minions with grains or pillar.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.read().keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Forgets grains, pillar and mine of a minion.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn remove(&self, id: &MinionId) -> Result<(), StoreError> {
        self.write().remove(id.as_str());
        self.change(|db| {
            db.execute("DELETE FROM data WHERE minion = ?1", [id.as_str()])?;
            db.execute("DELETE FROM mine WHERE minion = ?1", [id.as_str()])?;
            db.execute_batch("PRAGMA incremental_vacuum(100)")
        })
    }

    /// Forgets one minion's grains.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn clear_grains(&self, id: &MinionId) -> Result<(), StoreError> {
        self.forget(id, |known| known.grains = None);
        self.change(|db| {
            db.execute("UPDATE data SET grains = NULL WHERE minion = ?1", [id.as_str()])?;
            drop_empty(db, id)
        })
    }

    /// Forgets one minion's pillar.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn clear_pillar(&self, id: &MinionId) -> Result<(), StoreError> {
        self.forget(id, |known| known.pillar_digest = None);
        self.change(|db| {
            db.execute("UPDATE data SET pillar = NULL WHERE minion = ?1", [id.as_str()])?;
            drop_empty(db, id)
        })
    }

    fn forget(&self, id: &MinionId, what: impl FnOnce(&mut Known)) {
        let mut known = self.write();
        if let Some(entry) = known.get_mut(id.as_str()) {
            what(entry);
            if entry.grains.is_none() && entry.pillar_digest.is_none() {
                known.remove(id.as_str());
            }
        }
    }

    /// Puts functions into the mine of a minion; with `clear` they replace what is there (the
    /// evident intent, trap T17).
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_update(&self, id: &MinionId, data: Map, clear: bool) -> Result<(), StoreError> {
        self.change(|db| {
            let tx = db.unchecked_transaction()?;
            if clear {
                tx.execute("DELETE FROM mine WHERE minion = ?1", [id.as_str()])?;
            }
            let mut put = tx.prepare_cached(
                "INSERT INTO mine (minion, fun, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (minion, fun) DO UPDATE SET value = excluded.value",
            )?;
            for (fun, value) in &data {
                if let Some(fun) = fun.as_str() {
                    put.execute(params![id.as_str(), fun, msgpack::encode(value, Encoding::Bin)])?;
                }
            }
            drop(put);
            tx.commit()
        })
    }

    /// The whole mine of a minion; `None` when it has none.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine(&self, id: &str) -> Result<Option<Map>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = self.change(|db| {
            db.prepare_cached("SELECT fun, value FROM mine WHERE minion = ?1 ORDER BY rowid")?
                .query_map([id], |r| Ok((r.get(0)?, r.get(1)?)))?
                .collect()
        })?;
        let map: Map = rows.into_iter().map(|(fun, value)| (fun, unpack_value(&value))).collect();
        Ok((!map.is_empty()).then_some(map))
    }

    /// One function in the mine of a minion, as stored (it may carry an access list).
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_get(&self, id: &str, fun: &str) -> Result<Option<Value>, StoreError> {
        let value: Option<Vec<u8>> = self.change(|db| {
            db.prepare_cached("SELECT value FROM mine WHERE minion = ?1 AND fun = ?2")?
                .query_row([id, fun], |r| r.get(0))
                .optional()
        })?;
        Ok(value.map(|bytes| unpack_value(&bytes)))
    }

    /// Takes one function out of the mine of a minion; whether it was there.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_delete(&self, id: &MinionId, fun: &str) -> Result<bool, StoreError> {
        self.change(|db| {
            db.execute("DELETE FROM mine WHERE minion = ?1 AND fun = ?2", [id.as_str(), fun])
                .map(|rows| rows > 0)
        })
    }

    /// Empties the mine of a minion; whether there was one.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_flush(&self, id: &MinionId) -> Result<bool, StoreError> {
        self.change(|db| {
            db.execute("DELETE FROM mine WHERE minion = ?1", [id.as_str()]).map(|rows| rows > 0)
        })
    }

    /// Does something with the database; when the file turns out to be damaged, once more with a
    /// new one that has the grains from memory.
    fn change<T>(
        &self,
        step: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut slot = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        for last_try in [false, true] {
            let db = match slot.take() {
                Some(db) => db,
                None => self.reopen()?,
            };
            match step(&db) {
                Err(e) if db::is_damage(&e) && !last_try => {
                    drop(db);
                    db::move_aside(&self.path, KIND, &e.to_string())?;
                }
                result => {
                    *slot = Some(db);
                    return result.map_err(db::fail("use", &self.path));
                }
            }
        }
        Err(StoreError::Closed)
    }

    fn reopen(&self) -> Result<Connection, StoreError> {
        let db = db::open_or_renew(&self.path, KIND)?;
        let save = || {
            let tx = db.unchecked_transaction()?;
            for (id, known) in self.read().iter() {
                let mut put = tx.prepare_cached(
                    "INSERT OR IGNORE INTO data (minion, grains) VALUES (?1, ?2)",
                )?;
                put.execute(params![id, known.grains.as_deref()])?;
            }
            tx.commit()
        };
        save().map_err(db::fail("write", &self.path))?;
        for known in self.write().values_mut() {
            known.pillar_digest = None;
        }
        Ok(db)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Known>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_all(db: &Connection) -> rusqlite::Result<HashMap<String, Known>> {
    let mut statement = db.prepare("SELECT minion, grains, pillar FROM data")?;
    let mut rows = statement.query([])?;
    let mut all = HashMap::new();
    while let Some(row) = rows.next()? {
        let grains: Option<Vec<u8>> = row.get(1)?;
        let pillar: Option<Vec<u8>> = row.get(2)?;
        let known =
            Known { grains: grains.map(Into::into), pillar_digest: pillar.as_deref().map(digest) };
        all.insert(row.get(0)?, known);
    }
    Ok(all)
}

fn drop_empty(db: &Connection, id: &MinionId) -> rusqlite::Result<()> {
    db.execute(
        "DELETE FROM data WHERE minion = ?1 AND grains IS NULL AND pillar IS NULL",
        [id.as_str()],
    )
    .map(|_| ())
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn unpack(bytes: &[u8]) -> Option<Map> {
    msgpack::from_file(bytes).ok()?.into_map()
}

fn unpack_value(bytes: &[u8]) -> Value {
    msgpack::from_file(bytes).unwrap_or_default()
}
