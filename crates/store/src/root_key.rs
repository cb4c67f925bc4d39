//! The key local tools show to the master: `<cachedir>/.<user>_key`, mode 0600
//! (wire-protocol §8.1).

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use saltern_base::atomic_file;
use saltern_crypto::SealKey;

use crate::StoreError;
use crate::fs_util::{plain_child, read_small};

/// Where the key of `user` lies.
///
/// # Errors
/// A user name that is no plain file name.
pub fn path(cachedir: &Path, user: &str) -> Result<PathBuf, StoreError> {
    plain_child(cachedir, user, "the user name")?;
    Ok(cachedir.join(format!(".{user}_key")))
}

/// Makes a new key for `user` and gives the file to that user when this process may.
///
/// # Errors
/// The file system's refusal.
pub fn create(cachedir: &Path, user: &str) -> Result<SealKey, StoreError> {
    let path = path(cachedir, user)?;
    let key = SealKey::generate()
        .map_err(|e| StoreError::unusable(format!("cannot make a root key: {e}")))?;
    atomic_file::write(&path, key.as_str().as_bytes(), 0o600)
        .map_err(|e| StoreError::io("write", &path, e))?;
    if let Some(uid) = uid_of(user)
        && let Err(e) = chown(&path, Some(uid), None)
        && e.kind() != io::ErrorKind::PermissionDenied
    {
        return Err(StoreError::io("give away", &path, e));
    }
    Ok(key)
}

/// Reads the key of `user`, for a tool.
///
/// # Errors
/// The file system's refusal: usually no master runs here, or this user may not command it.
pub fn read(cachedir: &Path, user: &str) -> Result<SealKey, StoreError> {
    let path = path(cachedir, user)?;
    let Some((text, _)) = read_small(&path)? else {
        return Err(StoreError::io("read", &path, io::Error::from(io::ErrorKind::NotFound)));
    };
    SealKey::parse(text.trim()).map_err(|_| {
        let path = path.display();
        StoreError::unusable(format!("{path} is no root key; restart the master to renew it"))
    })
}

/// The user's number in `/etc/passwd`; network directories are not asked.
fn uid_of(user: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, mode};

    #[test]
    fn one_private_file_per_user() {
        let dir = Scratch::new();
        let key = create(dir.path(), "root").unwrap();
        assert_eq!(mode(&dir.path().join(".root_key")), 0o600);
        assert_eq!(read(dir.path(), "root").unwrap().as_str(), key.as_str());
        let renewed = create(dir.path(), "root").unwrap();
        assert_ne!(renewed.as_str(), key.as_str());
        assert!(read(dir.path(), "nobody").unwrap_err().is_not_found());
        for bad in ["../x", "a/b", "", "a\0b"] {
            assert!(create(dir.path(), bad).is_err(), "{bad:?}");
            assert!(read(dir.path(), bad).is_err(), "{bad:?}");
        }
        fs::write(dir.path().join(".root_key"), "short").unwrap();
        assert!(read(dir.path(), "root").is_err());
    }
}
