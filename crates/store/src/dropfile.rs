//! `<cachedir>/.dfn`: how a tool asks a running master for a new AES key (wire-protocol §4.7).

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use saltern_base::atomic_file;

use crate::StoreError;
use crate::fs_util::remove;

const NAME: &str = ".dfn";

/// Asks the master of `cachedir` for a new key. The file names `master_id`, so that masters of
/// both generations take it.
///
/// # Errors
/// The file system's refusal.
pub fn request(cachedir: &Path, master_id: &str) -> Result<(), StoreError> {
    let path = cachedir.join(NAME);
    match atomic_file::create_new(&path, master_id.as_bytes(), 0o400) {
        Ok(()) => give_to_owner_of(cachedir, &path),
        // Asked for already.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(StoreError::io("write", &path, e)),
    }
}

/// A tool run by root serves a master that runs as another user: that one must be able to read.
fn give_to_owner_of(cachedir: &Path, path: &Path) -> Result<(), StoreError> {
    let fail = |e| StoreError::io("give away", path, e);
    let owner = fs::metadata(cachedir).map_err(fail)?.uid();
    // A master that has taken the request meanwhile is what was wanted.
    let given = fs::metadata(path).and_then(|meta| match meta.uid() == owner {
        true => Ok(()),
        false => chown(path, Some(owner), None),
    });
    match given.map_err(|e| (e.kind(), e)) {
        Ok(()) | Err((io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, _)) => Ok(()),
        Err((_, e)) => Err(fail(e)),
    }
}

/// Whether a tool asked for a new key; the request is used up. Takes the empty file of Salt 3006
/// and one that names `master_id` (3008); both must have mode 0400 exactly, else the file is
/// removed and does not count. A file that names another master is left to it.
///
/// # Errors
/// The file system's refusal.
pub fn take(cachedir: &Path, master_id: &str) -> Result<bool, StoreError> {
    let path = cachedir.join(NAME);
    let meta = match fs::symlink_metadata(&path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(StoreError::io("look at", &path, e)),
    };
    if !meta.is_file() || meta.permissions().mode() & 0o7777 != 0o400 {
        log::error!("{} has not the mode 0400 of a key request; removed", path.display());
        remove(&path)?;
        return Ok(false);
    }
    let text = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(StoreError::io("read", &path, e)),
    };
    if !text.is_empty() && text != master_id.as_bytes() {
        return Ok(false);
    }
    remove(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, mode};

    fn plant(dir: &Scratch, text: &str, mode: u32) {
        atomic_file::write(&dir.path().join(NAME), text.as_bytes(), mode).unwrap();
    }

    #[test]
    fn both_generations_may_ask() {
        let dir = Scratch::new();
        assert!(!take(dir.path(), "vm").unwrap());
        request(dir.path(), "vm").unwrap();
        request(dir.path(), "vm").unwrap();
        assert_eq!(mode(&dir.path().join(NAME)), 0o400);
        assert!(take(dir.path(), "vm").unwrap());
        assert!(!take(dir.path(), "vm").unwrap(), "used up");
        plant(&dir, "", 0o400);
        assert!(take(dir.path(), "vm").unwrap());
    }

    #[test]
    fn other_masters_and_wrong_modes_do_not_count() {
        let dir = Scratch::new();
        plant(&dir, "other", 0o400);
        assert!(!take(dir.path(), "vm").unwrap());
        assert!(take(dir.path(), "other").unwrap(), "left to the one it names");
        plant(&dir, "", 0o600);
        assert!(!take(dir.path(), "vm").unwrap());
        assert!(!dir.path().join(NAME).exists());
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(NAME)).unwrap();
        assert!(!take(dir.path(), "vm").unwrap());
    }
}
