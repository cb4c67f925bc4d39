//! Digests of files, remembered while the file stays the same. One that was changed a moment ago
//! is read again: a change within the same tick of the file system's clock would not show.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use saltern_crypto::HashType;

use crate::stamp::Stamp;

/// Digests remembered; one takes about 200 bytes.
const MAX: usize = 8192;

#[derive(Debug)]
pub(crate) struct HashCache {
    hash_type: HashType,
    known: Mutex<HashMap<PathBuf, (Stamp, String)>>,
}

impl HashCache {
    pub(crate) fn new(hash_type: HashType) -> Self {
        HashCache { hash_type, known: Mutex::default() }
    }

    pub(crate) fn hash_type(&self) -> HashType {
        self.hash_type
    }

    /// The digest of a file as hexadecimal digits.
    pub(crate) fn digest(&self, path: &Path) -> io::Result<String> {
        let file = File::open(path)?;
        // Of the open file, so that it is the stamp of what is read.
        let stamp = Stamp::of(&file.metadata()?);
        if let Some((known, digest)) = self.lock().get(path)
            && *known == stamp
        {
            return Ok(digest.clone());
        }
        let settled = stamp.is_settled(SystemTime::now());
        let digest = self.hash_type.hex_digest_of(file)?;
        if !settled {
            return Ok(digest);
        }
        let mut known = self.lock();
        if known.len() >= MAX
            && let Some(other) = known.keys().next().cloned()
        {
            known.remove(&other);
        }
        known.insert(path.to_owned(), (stamp, digest.clone()));
        Ok(digest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, String)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
