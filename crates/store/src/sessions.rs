//! Session keys: `<cachedir>/sessions/<id>`, mode 0600, one per accepted minion
//! (wire-protocol §4.7).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use saltern_base::{MinionId, atomic_file};
use saltern_crypto::SealKey;

use crate::StoreError;
use crate::fs_util::{make_dir, read_small, remove, stat};
use crate::pki::AcceptedKey;
use crate::stamp::Stamp;

/// Keys kept in memory; beyond that, files are read again.
const MAX_CACHED: usize = 16_384;

/// The session keys of a master.
#[derive(Debug)]
pub struct Sessions {
    dir: PathBuf,
    max_age: Duration,
    known: Mutex<HashMap<MinionId, (Stamp, SealKey)>>,
}

impl Sessions {
    /// Opens (makes) `<cachedir>/sessions`. A key lives for `max_age` (`publish_session`).
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn open(cachedir: &Path, max_age: Duration) -> Result<Self, StoreError> {
        let dir = cachedir.join("sessions");
        make_dir(&dir, 0o700)?;
        Ok(Sessions { dir, max_age, known: Mutex::default() })
    }

    /// The session key to give to a minion that signs in: the present one, or a new one when there
    /// is none or it is too old. Taking an [`AcceptedKey`] is what keeps strangers from making
    /// files here (trap T2).
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn for_sign_in(
        &self,
        minion: &AcceptedKey,
        now: SystemTime,
    ) -> Result<SealKey, StoreError> {
        if let Some(key) = self.for_request(minion, now)? {
            return Ok(key);
        }
        let path = self.path(minion.id());
        let key = SealKey::generate()
            .map_err(|e| StoreError::unusable(format!("cannot make a session key: {e}")))?;
        // Not synced: a session that a power cut takes costs its minion one more sign-in.
        atomic_file::write_unsynced(&path, key.as_str().as_bytes(), 0o600)
            .map_err(|e| StoreError::io("write", &path, e))?;
        Ok(key)
    }

    /// The present session key for a request of an accepted minion; `None` when there is none, it
    /// is too old, or it was made for an earlier key of that id (the answer is then `bad load`,
    /// and the minion signs in again). One `stat` when the key is known already.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn for_request(
        &self,
        minion: &AcceptedKey,
        now: SystemTime,
    ) -> Result<Option<SealKey>, StoreError> {
        let path = self.path(minion.id());
        let Some(stamp) = stat(&path)? else {
            self.lock().remove(minion.id());
            return Ok(None);
        };
        let age = now.duration_since(stamp.modified()).unwrap_or(Duration::ZERO);
        if age >= self.max_age || stamp.modified() < minion.since() {
            return Ok(None);
        }
        if let Some((known, key)) = self.lock().get(minion.id())
            && *known == stamp
        {
            return Ok(Some(key.clone()));
        }
        self.load(minion.id(), &path)
    }

    fn load(&self, id: &MinionId, path: &Path) -> Result<Option<SealKey>, StoreError> {
        let Some((text, stamp)) = read_small(path)? else { return Ok(None) };
        let Ok(key) = SealKey::parse(text.trim()) else {
            log::warn!("{} is no session key; the minion gets a new one", path.display());
            return Ok(None);
        };
        let mut known = self.lock();
        if known.len() >= MAX_CACHED
            && let Some(other) = known.keys().next().cloned()
        {
            known.remove(&other);
        }
        known.insert(id.clone(), (stamp, key.clone()));
        Ok(Some(key))
    }

    /// Removes the session of a minion, with its key.
    ///
    /// # Errors
    /// The file system's refusal; a missing file is no error.
    pub fn remove(&self, id: &MinionId) -> Result<(), StoreError> {
        self.lock().remove(id);
        remove(&self.path(id)).map(|_| ())
    }

    fn path(&self, id: &MinionId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MinionId, (Stamp, SealKey)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
