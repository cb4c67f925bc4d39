//! Minion keys: one file per id in `minions`, `minions_pre`, `minions_rejected`, `minions_denied`.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use saltern_base::{MinionId, atomic_file};
use saltern_crypto::PublicKey;

use super::roster::Roster;
use crate::StoreError;
use crate::fs_util::{make_dir, read_small, remove, stat, sync_dir};
use crate::stamp::Stamp;

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

impl KeyState {
    /// All states.
    pub const ALL: [KeyState; 4] =
        [KeyState::Accepted, KeyState::Pending, KeyState::Rejected, KeyState::Denied];

    /// The name of its directory in the pki directory; Salt's tools name the states so as well.
    #[must_use]
    pub fn dir_name(self) -> &'static str {
        match self {
            KeyState::Accepted => "minions",
            KeyState::Pending => "minions_pre",
            KeyState::Rejected => "minions_rejected",
            KeyState::Denied => "minions_denied",
        }
    }
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

/// An accepted minion with its key. Only [`Pki::accepted`] makes one, so whoever has one has had
/// the disk looked at.
#[derive(Clone, Debug)]
pub struct AcceptedKey {
    id: MinionId,
    public: PublicKey,
    since: SystemTime,
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

    /// When the key was put among the accepted ones. A session older than that was made for
    /// another key of that id.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }
}

/// Parsed keys kept in memory; beyond that, keys are parsed again (10,000 minions fit).
const MAX_CACHED: usize = 16_384;

/// A master's pki directory.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    parsed: RwLock<HashMap<MinionId, (Stamp, PublicKey)>>,
    pub(super) roster: Roster,
}

impl Pki {
    /// Opens `dir`, making it and its state directories when they are missing. The directory gets
    /// mode 0700, or 0750 with `permissive` (`permissive_pki_access`).
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn open(dir: &Path, permissive: bool) -> Result<Self, StoreError> {
        let mode = if permissive { 0o750 } else { 0o700 };
        make_dir(dir, mode)?;
        tighten(dir, mode)?;
        for state in KeyState::ALL {
            make_dir(&dir.join(state.dir_name()), mode)?;
        }
        make_dir(&dir.join(AUTOSIGN_DIR), mode)?;
        Ok(Pki { dir: dir.to_owned(), parsed: RwLock::default(), roster: Roster::default() })
    }

    /// The directory itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, id: &MinionId, state: KeyState) -> PathBuf {
        self.dir.join(state.dir_name()).join(id.as_str())
    }

    /// Everything on disk about one id (at most four small reads).
    ///
    /// # Errors
    /// The file system's refusal; a missing file is no error.
    pub fn lookup(&self, id: &MinionId) -> Result<KeyRecord, StoreError> {
        Ok(KeyRecord {
            accepted: self.read(id, KeyState::Accepted)?,
            pending: self.read(id, KeyState::Pending)?,
            rejected: self.read(id, KeyState::Rejected)?,
            denied: self.read(id, KeyState::Denied)?,
        })
    }

    /// The accepted key of `id`: one `stat` when it is known already, so a key that another process
    /// deleted or replaced counts at once.
    ///
    /// # Errors
    /// The file system's refusal, or a stored key that is none.
    pub fn accepted(&self, id: &MinionId) -> Result<Option<AcceptedKey>, StoreError> {
        self.accepted_like(id, None)
    }

    /// As [`Pki::accepted`]; a stored key that is `like` this one is not parsed again.
    ///
    /// # Errors
    /// As [`Pki::accepted`].
    pub fn accepted_like(
        &self,
        id: &MinionId,
        like: Option<&PublicKey>,
    ) -> Result<Option<AcceptedKey>, StoreError> {
        let path = self.path(id, KeyState::Accepted);
        let Some(stamp) = stat(&path)? else {
            self.forget(id);
            return Ok(None);
        };
        if let Some((known, public)) = lock_read(&self.parsed).get(id)
            && *known == stamp
        {
            return Ok(Some(accepted(id, public, &stamp)));
        }
        let Some((text, stamp)) = read_small(&path)? else {
            self.forget(id);
            return Ok(None);
        };
        if text.is_empty() {
            self.forget(id);
            return Ok(None);
        }
        let public = match like.filter(|key| key.wire_pem() == text) {
            Some(key) => key.clone(),
            None => PublicKey::from_pem(text.as_bytes()).map_err(|e| {
                let path = path.display();
                StoreError::unusable(format!("{path} holds no usable public key ({e}); delete it"))
            })?,
        };
        let mut parsed = lock_write(&self.parsed);
        if parsed.len() >= MAX_CACHED
            && let Some(other) = parsed.keys().next().cloned()
        {
            parsed.remove(&other);
        }
        parsed.insert(id.clone(), (stamp, public.clone()));
        Ok(Some(accepted(id, &public, &stamp)))
    }

    /// The accepted key of `id` as it was when somebody last asked for it: only good for not
    /// parsing the same text again.
    #[must_use]
    pub fn last_seen(&self, id: &MinionId) -> Option<PublicKey> {
        lock_read(&self.parsed).get(id).map(|(_, public)| public.clone())
    }

    /// Of how many ids the accepted key was asked for, as far as that is kept.
    #[must_use]
    pub fn seen(&self) -> usize {
        lock_read(&self.parsed).len()
    }

    /// Whether there is a file for `id` in that state.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn has(&self, id: &MinionId, state: KeyState) -> Result<bool, StoreError> {
        Ok(stat(&self.path(id, state))?.is_some())
    }

    fn forget(&self, id: &MinionId) {
        if lock_read(&self.parsed).contains_key(id) {
            lock_write(&self.parsed).remove(id);
        }
    }

    /// All ids of all states; one directory read per state.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn list(&self) -> Result<KeyList, StoreError> {
        Ok(KeyList {
            accepted: self.ids(KeyState::Accepted)?,
            pending: self.ids(KeyState::Pending)?,
            rejected: self.ids(KeyState::Rejected)?,
            denied: self.ids(KeyState::Denied)?,
        })
    }

    /// The sorted ids of one state.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn ids(&self, state: KeyState) -> Result<Vec<String>, StoreError> {
        let dir = self.dir.join(state.dir_name());
        let mut ids = Vec::new();
        self.each_id(&dir, |id| ids.push(id))?;
        ids.sort_unstable();
        Ok(ids)
    }

    fn each_id(&self, dir: &Path, mut with: impl FnMut(String)) -> Result<(), StoreError> {
        let fail = |e| StoreError::io("list", dir, e);
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(fail(e)),
        };
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            // Hidden names are temporary files and Salt's `.key_cache`, never ids.
            if let Some(id) = name.to_str().and_then(|name| MinionId::parse(name).ok())
                && !entry.file_type().map_err(fail)?.is_dir()
            {
                with(id.to_string());
            }
        }
        Ok(())
    }

    /// How many keys are accepted and pending, for `max_minions`.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn counts(&self) -> Result<KeyStateCounts, StoreError> {
        let count = |state: KeyState| {
            let mut n = 0;
            self.each_id(&self.dir.join(state.dir_name()), |_| n += 1).map(|()| n)
        };
        Ok(KeyStateCounts {
            accepted: count(KeyState::Accepted)?,
            pending: count(KeyState::Pending)?,
        })
    }

    /// The stored text of a key.
    ///
    /// # Errors
    /// The file system's refusal; a missing file is `None`, and so is an empty one, as a power cut
    /// may leave it after [`Pki::put_again`].
    pub fn read(&self, id: &MinionId, state: KeyState) -> Result<Option<String>, StoreError> {
        let found = read_small(&self.path(id, state))?;
        Ok(found.map(|(text, _)| text).filter(|text| !text.is_empty()))
    }

    /// Accepts a key that would be accepted again if the file were gone (`auto_accept`): other
    /// processes see the file whole or not at all, but nobody waits for the disk.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn put_again(&self, id: &MinionId, pem: &str) -> Result<(), StoreError> {
        let path = self.path(id, KeyState::Accepted);
        let bytes = pem.trim_end_matches(['\n', '\r']).as_bytes();
        atomic_file::write_unsynced(&path, bytes, 0o644)
            .map_err(|e| StoreError::io("write", &path, e))
    }

    /// Stores `pem` as sent, without a trailing newline, replacing what is there in that state. A
    /// [`KeyState::Denied`] key that is there is kept: the first one is the evidence.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn put(&self, id: &MinionId, state: KeyState, pem: &str) -> Result<(), StoreError> {
        let path = self.path(id, state);
        let bytes = pem.trim_end_matches(['\n', '\r']).as_bytes();
        let written = match state {
            KeyState::Denied => match atomic_file::create_new(&path, bytes, 0o644) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            },
            _ => atomic_file::write(&path, bytes, 0o644),
        };
        written.map_err(|e| StoreError::io("write", &path, e))
    }

    /// Moves the key of `id` between states, by an atomic rename. `false` when there is none in
    /// `from`.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn transition(
        &self,
        id: &MinionId,
        from: KeyState,
        to: KeyState,
    ) -> Result<bool, StoreError> {
        let (source, target) = (self.path(id, from), self.path(id, to));
        if from == to {
            return Ok(stat(&source)?.is_some());
        }
        match fs::rename(&source, &target) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(StoreError::io("move", &source, e)),
        }
        for state in [to, from] {
            let dir = self.dir.join(state.dir_name());
            sync_dir(&dir).map_err(|e| StoreError::io("sync", &dir, e))?;
        }
        Ok(true)
    }

    /// Deletes the key of `id` in one state; `false` when there is none.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn delete(&self, id: &MinionId, state: KeyState) -> Result<bool, StoreError> {
        let removed = remove(&self.path(id, state))?;
        if removed {
            // A deleted key must not come back after a power cut.
            let dir = self.dir.join(state.dir_name());
            sync_dir(&dir).map_err(|e| StoreError::io("sync", &dir, e))?;
        }
        Ok(removed)
    }
}

fn accepted(id: &MinionId, public: &PublicKey, stamp: &Stamp) -> AcceptedKey {
    AcceptedKey { id: id.clone(), public: public.clone(), since: stamp.changed() }
}

/// Takes permissions beyond `mode` away from the pki directory.
fn tighten(dir: &Path, mode: u32) -> Result<(), StoreError> {
    let fail = |e| StoreError::io("set the mode of", dir, e);
    let now = fs::metadata(dir).map_err(fail)?.permissions().mode() & 0o777;
    if now & !mode == 0 {
        return Ok(());
    }
    match fs::set_permissions(dir, fs::Permissions::from_mode(now & mode | 0o700)) {
        Ok(()) => Ok(()),
        // A tool that may read but does not own the directory.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            log::warn!("{} is readable by others (mode {now:o})", dir.display());
            Ok(())
        }
        Err(e) => Err(fail(e)),
    }
}

const AUTOSIGN_DIR: &str = "minions_autosign";

/// Uses up the stub `minions_autosign/<id>`: whether a stub was there that is younger than
/// `timeout` (`autosign_timeout`; zero: no limit). Stubs too old, of any id, are removed.
///
/// # Errors
/// The file system's refusal.
pub fn autosign_stub_used(
    pki_dir: &Path,
    id: &MinionId,
    timeout: Duration,
    now: SystemTime,
) -> Result<bool, StoreError> {
    let dir = pki_dir.join(AUTOSIGN_DIR);
    let fail = |e| StoreError::io("list", &dir, e);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(fail(e)),
    };
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let Some(stamp) = stat(&path)? else { continue };
        let age = now.duration_since(stamp.modified()).unwrap_or(Duration::ZERO);
        if !timeout.is_zero() && age > timeout && path.is_file() {
            log::warn!("removing the expired autosign stub {}", path.display());
            remove(&path)?;
        }
    }
    remove(&dir.join(id.as_str()))
}

fn lock_read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock_write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
