//! Session keys: `<cachedir>/sessions/<id>`, mode 0600, one per accepted minion
//! (wire-protocol §4.7).

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use saltern_base::MinionId;
use saltern_crypto::SealKey;

use crate::StoreError;
use crate::pki::AcceptedKey;

/// The session keys of a master.
#[derive(Debug)]
pub struct Sessions {
    dir: PathBuf,
    max_age: Duration,
}

impl Sessions {
    /// Opens (makes) `<cachedir>/sessions`. A key lives for `max_age` (`publish_session`).
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn open(_cachedir: &Path, _max_age: Duration) -> Result<Self, StoreError> {
        todo!()
    }

    /// The session key to give to a minion that signs in: the present one, or a new one when there
    /// is none or it is too old. Taking an [`AcceptedKey`] is what keeps strangers from making
    /// files here (trap T2).
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn for_sign_in(&self, _minion: &AcceptedKey, _now: SystemTime) -> Result<SealKey, StoreError> {
        todo!()
    }

    /// The present session key for a request of an accepted minion; `None` when there is none or
    /// it is too old (the answer is then `bad load`, and the minion signs in again).
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn for_request(
        &self,
        _minion: &AcceptedKey,
        _now: SystemTime,
    ) -> Result<Option<SealKey>, StoreError> {
        todo!()
    }

    /// Removes the session of a minion, with its key.
    ///
    /// # Errors
    /// The file system's refusal; a missing file is no error.
    pub fn remove(&self, _id: &MinionId) -> Result<(), StoreError> {
        todo!()
    }
}
