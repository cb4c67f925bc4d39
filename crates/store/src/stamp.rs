//! Tells whether a file is still the one that was read: one `stat`, no reading.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Identity and times of a file. A replaced file has another inode or change time, even when its
/// modification time is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// When the content was last written.
    pub(crate) fn modified(&self) -> SystemTime {
        at(self.modified)
    }

    /// When the file was last written, renamed or had its mode changed.
    pub(crate) fn changed(&self) -> SystemTime {
        at(self.changed)
    }
}

fn at((seconds, nanos): (i64, i64)) -> SystemTime {
    let nanos = u32::try_from(nanos).unwrap_or(0);
    UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), nanos)
}
