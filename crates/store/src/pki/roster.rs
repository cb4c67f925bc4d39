//! The accepted ids in memory, so that a publication reads no directory: one `stat` tells whether
//! somebody, this program or another, has added or removed a key since.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::directory::{KeyState, Pki};
use crate::StoreError;
use crate::fs_util::stat;
use crate::stamp::Stamp;

/// Changes within this time of one another may leave a directory with the same times: clocks of
/// file systems are coarse.
const COARSE: Duration = Duration::from_millis(100);

/// What was read, and of which directory.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<Option<Read>>);

#[derive(Debug)]
struct Read {
    ids: Arc<Vec<String>>,
    stamp: Stamp,
    /// The directory had rested for a while when it was read, so a later change shows in its times.
    settled: bool,
}

impl Pki {
    /// The sorted accepted ids. They are read again only when the directory has changed.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn accepted_ids(&self) -> Result<Arc<Vec<String>>, StoreError> {
        let dir = self.dir().join(KeyState::Accepted.dir_name());
        let mut known = self.roster.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let Some(stamp) = stat(&dir)? else {
            *known = None;
            return Ok(Arc::default());
        };
        if let Some(read) = &*known
            && read.settled
            && read.stamp == stamp
        {
            return Ok(Arc::clone(&read.ids));
        }
        let ids = Arc::new(self.ids(KeyState::Accepted)?);
        let settled = now.duration_since(stamp.changed()).is_ok_and(|age| age > COARSE);
        *known = Some(Read { ids: Arc::clone(&ids), stamp, settled });
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use saltern_base::MinionId;

    #[test]
    fn changes_by_hand_are_seen_and_nothing_is_read_without_one() {
        let dir = crate::testing::Scratch::new();
        let pki = Pki::open(dir.path(), false).unwrap();
        let key = |id: &str| MinionId::parse(id).unwrap();
        assert!(pki.accepted_ids().unwrap().is_empty());
        pki.put(&key("b"), KeyState::Accepted, "x").unwrap();
        pki.put(&key("a"), KeyState::Accepted, "x").unwrap();
        assert_eq!(*pki.accepted_ids().unwrap(), ["a", "b"]);
        let minions = dir.path().join("minions");
        std::fs::remove_file(minions.join("a")).unwrap();
        assert_eq!(*pki.accepted_ids().unwrap(), ["b"]);
        pki.transition(&key("b"), KeyState::Accepted, KeyState::Rejected).unwrap();
        assert!(pki.accepted_ids().unwrap().is_empty());
        // Once the directory has rested, what is in memory is what there is.
        let rested = || pki.roster.0.lock().unwrap().as_ref().is_some_and(|read| read.settled);
        while !rested() {
            pki.accepted_ids().unwrap();
        }
        let first = pki.accepted_ids().unwrap();
        assert!(Arc::ptr_eq(&first, &pki.accepted_ids().unwrap()));
        std::fs::write(minions.join("c"), "x").unwrap();
        assert_eq!(*pki.accepted_ids().unwrap(), ["c"]);
        std::fs::remove_dir_all(&minions).unwrap();
        assert!(pki.accepted_ids().unwrap().is_empty());
    }
}
