//! Small helpers around files that must not depend on the umask nor take endless input.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::stamp::Stamp;

/// Nothing kept as a key is larger; a larger file is no key.
const MAX_KEY_FILE: u64 = 64 << 10;

/// Makes a directory (and its parents) with exactly `mode`, whatever the umask; leaves the mode of
/// an existing one.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let build = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(mode).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(e) => Err(e),
            Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        }
    };
    build().map_err(|e| StoreError::io("make the directory", path, e))
}

/// Reads a small text file with the stamp of exactly what was read; `None` when it is missing.
pub(crate) fn read_small(path: &Path) -> Result<Option<(String, Stamp)>, StoreError> {
    let fail = |e| StoreError::io("read", path, e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let meta = file.metadata().map_err(fail)?;
    if !meta.is_file() || meta.len() > MAX_KEY_FILE {
        let path = path.display();
        return Err(StoreError::unusable(format!("{path} is no key file; move it away")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE).read_to_end(&mut bytes).map_err(fail)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((text, Stamp::of(&meta)))),
        Err(_) => {
            let path = path.display();
            Err(StoreError::unusable(format!("{path} is not text, so no key; move it away")))
        }
    }
}

/// The stamp of a file; `None` when it is missing.
pub(crate) fn stat(path: &Path) -> Result<Option<Stamp>, StoreError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(Stamp::of(&meta))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("look at", path, e)),
    }
}

/// Removes a file; whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::io("remove", path, e)),
    }
}

/// `dir/name`, when `name` is one plain file name that is not hidden.
pub(crate) fn plain_child(dir: &Path, name: &str, what: &str) -> Result<PathBuf, StoreError> {
    let bad = name.is_empty()
        || name.len() > 250
        || name.starts_with('.')
        || name.chars().any(|c| c == '/' || c == '\\' || c.is_control());
    if bad {
        return Err(StoreError::unusable(format!("{what} {name:?} must be a plain file name")));
    }
    Ok(dir.join(name))
}

/// Makes a rename in this directory last over a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
