//! `<cachedir>/.dfn`: how a tool asks a running master for a new AES key (wire-protocol §4.7).

use std::path::Path;

use crate::StoreError;

/// Asks the master of `cachedir` for a new key. The file names `master_id`, so that masters of
/// both generations take it.
///
/// # Errors
/// The file system's refusal.
pub fn drop(_cachedir: &Path, _master_id: &str) -> Result<(), StoreError> {
    todo!()
}

/// Whether a tool asked for a new key; the request is used up. Takes the empty file of Salt 3006
/// (mode exactly 0400) and one that names `master_id` (3008).
///
/// # Errors
/// The file system's refusal.
pub fn take(_cachedir: &Path, _master_id: &str) -> Result<bool, StoreError> {
    todo!()
}
