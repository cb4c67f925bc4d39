//! Minion keys: one file per id in `minions`, `minions_pre`, `minions_rejected`, `minions_denied`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use saltern_base::MinionId;
use saltern_crypto::PublicKey;

use crate::StoreError;

/// The state of a minion key; it is the directory the file lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyState {
    /// `minions`
    Accepted,
    /// `minions_pre`
    Pending,
    /// `minions_rejected`
    Rejected,
    /// `minions_denied`: a side record; an id may be denied and accepted at once.
    Denied,
}

/// What is on disk for one id: the stored PEM text per state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecord {
    /// The accepted key.
    pub accepted: Option<String>,
    /// The key that waits.
    pub pending: Option<String>,
    /// The rejected key.
    pub rejected: Option<String>,
    /// The key that was denied because it differs from the known one.
    pub denied: Option<String>,
}

/// All ids, sorted, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList {
    /// Ids with an accepted key.
    pub accepted: Vec<String>,
    /// Ids whose key waits.
    pub pending: Vec<String>,
    /// Ids whose key is rejected.
    pub rejected: Vec<String>,
    /// Ids of which a differing key was denied.
    pub denied: Vec<String>,
}

/// How many keys there are per state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStateCounts {
    /// Accepted keys.
    pub accepted: usize,
    /// Pending keys.
    pub pending: usize,
}

/// An accepted minion with its key. Only [`Pki::accepted`] makes one, so whoever asks for it has
/// had the disk looked at.
#[derive(Clone, Debug)]
pub struct AcceptedKey {
    id: MinionId,
    public: PublicKey,
}

impl AcceptedKey {
    /// Whose key it is.
    #[must_use]
    pub fn id(&self) -> &MinionId {
        &self.id
    }

    /// The key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// A master's pki directory.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Opens `dir`, making it and its state directories when they are missing: mode 0700, or 0750
    /// with `permissive` (`permissive_pki_access`).
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn open(_dir: &Path, _permissive: bool) -> Result<Self, StoreError> {
        todo!()
    }

    /// The directory itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything on disk about one id (at most four small reads).
    ///
    /// # Errors
    /// The file system's refusal; a missing file is no error.
    pub fn lookup(&self, _id: &MinionId) -> Result<KeyRecord, StoreError> {
        todo!()
    }

    /// The accepted key of `id`: one `stat` when it is known already, so a key that another process
    /// deleted or replaced counts at once.
    ///
    /// # Errors
    /// The file system's refusal, or a stored key that is none.
    pub fn accepted(&self, _id: &MinionId) -> Result<Option<AcceptedKey>, StoreError> {
        todo!()
    }

    /// All ids of all states; one directory read per state.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn list(&self) -> Result<KeyList, StoreError> {
        todo!()
    }

    /// The sorted ids of one state.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn ids(&self, _state: KeyState) -> Result<Vec<String>, StoreError> {
        todo!()
    }

    /// How many keys are accepted and pending, for `max_minions`.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn counts(&self) -> Result<KeyStateCounts, StoreError> {
        todo!()
    }

    /// The stored text of a key.
    ///
    /// # Errors
    /// The file system's refusal; a missing file is `None`.
    pub fn read(&self, _id: &MinionId, _state: KeyState) -> Result<Option<String>, StoreError> {
        todo!()
    }

    /// Stores `pem` as sent, without a trailing newline, replacing what is there in that state. A
    /// [`KeyState::Denied`] key that is there is kept: the first one is the evidence.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn put(&self, _id: &MinionId, _state: KeyState, _pem: &str) -> Result<(), StoreError> {
        todo!()
    }

    /// Moves the key of `id` between states, by an atomic rename. `false` when there is none in
    /// `from`.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn transition(
        &self,
        _id: &MinionId,
        _from: KeyState,
        _to: KeyState,
    ) -> Result<bool, StoreError> {
        todo!()
    }

    /// Deletes the key of `id` in one state; `false` when there is none.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn delete(&self, _id: &MinionId, _state: KeyState) -> Result<bool, StoreError> {
        todo!()
    }
}

/// Uses up the stub `minions_autosign/<id>`: whether a stub was there that is younger than
/// `timeout` (`autosign_timeout`). Stubs too old, of any id, are removed as Salt does.
///
/// # Errors
/// The file system's refusal.
pub fn autosign_stub_used(
    _pki_dir: &Path,
    _id: &MinionId,
    _timeout: Duration,
    _now: SystemTime,
) -> Result<bool, StoreError> {
    todo!()
}
