//! The key local tools show to the master: `<cachedir>/.<user>_key`, mode 0600
//! (wire-protocol §8.1).

use std::path::{Path, PathBuf};

use saltern_base::secret::Secret;

use crate::StoreError;

/// Where the key of `user` lies.
///
/// # Errors
/// A user name that is no plain file name.
pub fn path(_cachedir: &Path, _user: &str) -> Result<PathBuf, StoreError> {
    todo!()
}

/// Makes a new key for `user` and gives the file to that user when this process may.
///
/// # Errors
/// The file system's refusal.
pub fn create(_cachedir: &Path, _user: &str) -> Result<Secret<String>, StoreError> {
    todo!()
}

/// Reads the key of `user`, for a tool.
///
/// # Errors
/// The file system's refusal: usually no master runs here, or this user may not command it.
pub fn read(_cachedir: &Path, _user: &str) -> Result<Secret<String>, StoreError> {
    todo!()
}
