//! Why the file server cannot be set up.

use std::fmt;

/// A setting the file server cannot work with; the text names the option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError(pub(crate) String);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FileError {}
