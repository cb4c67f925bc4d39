//! The one error of this crate: what was tried, on which file, and why it failed.

use std::path::Path;
use std::{fmt, io};

/// Why something could not be read, kept or changed. Its text is one sentence for the log.
#[derive(Debug)]
pub enum StoreError {
    /// The file system refused.
    Io {
        /// What was tried, naming the file.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is there but not usable; it has been left as it is.
    Unusable {
        /// The sentence to show, naming the file and the way out.
        message: String,
    },
    /// A database refused.
    Database {
        /// What was tried, naming the file.
        what: String,
        /// The database's answer.
        message: String,
    },
    /// The bounded queue of writes is full; try again later.
    Busy,
    /// The store is shut down.
    Closed,
}

impl StoreError {
    pub(crate) fn io(action: &str, path: &Path, source: io::Error) -> Self {
        StoreError::Io { what: format!("{action} {}", path.display()), source }
    }

    pub(crate) fn unusable(message: impl Into<String>) -> Self {
        StoreError::Unusable { message: message.into() }
    }

    /// Whether the cause is a missing file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { what, source } => write!(f, "cannot {what}: {source}"),
            StoreError::Unusable { message } => f.write_str(message),
            StoreError::Database { what, message } => write!(f, "cannot {what}: {message}"),
            StoreError::Busy => f.write_str("too many writes are waiting for the disk"),
            StoreError::Closed => f.write_str("the store is shut down"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
