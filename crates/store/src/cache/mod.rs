//! The minion data cache: grains, pillar and mine of every minion, kept over restarts in
//! `<cachedir>/minions.sqlite`; grains are also held in memory, packed, for targeting.

use std::path::Path;
use std::sync::Arc;

use saltern_base::MinionId;
use saltern_value::{Map, Value};

use crate::StoreError;

/// The minion data cache.
#[derive(Debug)]
pub struct DataCache {}

impl DataCache {
    /// Opens (makes) the cache in `cachedir` and reads all grains into memory.
    ///
    /// # Errors
    /// The file system's refusal, or a file of a newer version of this program.
    pub fn open(_cachedir: &Path) -> Result<Self, StoreError> {
        todo!()
    }

    /// Keeps the grains of a minion (from `_pillar`), and its pillar when given.
    ///
    /// # Errors
    /// The database's refusal; memory is updated all the same.
    pub fn store(
        &self,
        _id: &MinionId,
        _grains: &Map,
        _pillar: Option<&Map>,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// The grains of a minion.
    #[must_use]
    pub fn grains(&self, _id: &str) -> Option<Map> {
        todo!()
    }

    /// The packed grains of a minion (MessagePack), without unpacking.
    #[must_use]
    pub fn grains_packed(&self, _id: &str) -> Option<Arc<[u8]>> {
        todo!()
    }

    /// Whether anything is known about the minion's grains.
    #[must_use]
    pub fn has_grains(&self, _id: &str) -> bool {
        todo!()
    }

    /// The pillar of a minion as last compiled.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn pillar(&self, _id: &str) -> Result<Option<Map>, StoreError> {
        todo!()
    }

    /// Sorted ids of all minions with grains or pillar.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        todo!()
    }

    /// Forgets grains, pillar and mine of a minion.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn remove(&self, _id: &MinionId) -> Result<(), StoreError> {
        todo!()
    }

    /// Forgets one minion's grains.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn clear_grains(&self, _id: &MinionId) -> Result<(), StoreError> {
        todo!()
    }

    /// Forgets one minion's pillar.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn clear_pillar(&self, _id: &MinionId) -> Result<(), StoreError> {
        todo!()
    }

    /// Puts functions into the mine of a minion; with `clear` they replace what is there (the
    /// evident intent, trap T17).
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_update(&self, _id: &MinionId, _data: Map, _clear: bool) -> Result<(), StoreError> {
        todo!()
    }

    /// The whole mine of a minion.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine(&self, _id: &str) -> Result<Option<Map>, StoreError> {
        todo!()
    }

    /// One function in the mine of a minion, as stored (it may carry an access list).
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_get(&self, _id: &str, _fun: &str) -> Result<Option<Value>, StoreError> {
        todo!()
    }

    /// Takes one function out of the mine of a minion; whether it was there.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_delete(&self, _id: &MinionId, _fun: &str) -> Result<bool, StoreError> {
        todo!()
    }

    /// Empties the mine of a minion; whether there was one.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn mine_flush(&self, _id: &MinionId) -> Result<bool, StoreError> {
        todo!()
    }
}
