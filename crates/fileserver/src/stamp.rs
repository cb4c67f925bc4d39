//! What tells one content of a file from another without reading it.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Times of files move in steps of up to 10 ms, on network file systems of up to a second: what was
/// changed so recently may change again and keep its stamp.
const STEP: Duration = Duration::from_secs(1);

/// The file, its size, and its times of change of content and of state (seconds, nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    size: u64,
    content: (i64, i64),
    state: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Stamp {
            file: (meta.dev(), meta.ino()),
            size: meta.size(),
            content: (meta.mtime(), meta.mtime_nsec()),
            state: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether a later change would show. The time of state is the file system's own, which no
    /// program sets; one that lies ahead of our clock is that of another machine.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        let Ok(seconds) = u64::try_from(self.state.0) else { return true };
        let changed = Duration::new(seconds, u32::try_from(self.state.1).unwrap_or(0));
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        now.checked_sub(changed).is_none_or(|age| age >= STEP)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { file, size, content, state } = self;
        write!(f, "{:x}-{:x}-{size:x}", file.0, file.1)?;
        write!(f, "-{:x}.{:x}-{:x}.{:x}", content.0, content.1, state.0, state.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_a_moment_ago_is_not_settled() {
        let stamp = |seconds| Stamp {
            file: (1, 2),
            size: 3,
            content: (0, 0),
            state: (seconds, 500_000_000),
        };
        let now = UNIX_EPOCH + Duration::from_secs(100);
        for (changed, settled) in [(98, true), (99, false), (100, true), (-5, true), (0, true)] {
            assert_eq!(stamp(changed).is_settled(now), settled, "{changed}");
        }
    }

    #[test]
    fn other_content_of_the_same_size_has_another_stamp() {
        let dir = crate::testing::Scratch::new();
        let stamp = |name| Stamp::of(&std::fs::metadata(dir.path().join(name)).unwrap());
        dir.file("file", "one");
        dir.file("other", "two");
        let before = stamp("file");
        assert_eq!(before, stamp("file"));
        std::fs::rename(dir.path().join("other"), dir.path().join("file")).unwrap();
        assert_ne!(before, stamp("file"));
        assert_ne!(before.to_string(), stamp("file").to_string());
    }
}
