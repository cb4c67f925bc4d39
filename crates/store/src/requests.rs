//! Marks of requests that were served, on disk: what was recorded from the wire before the master
//! started anew cannot be sent again after it, since sessions outlive the master (CVE-2024-38823).
//!
//! Two files of records of 16 bytes (seconds since the epoch, mark; both big-endian). When one is
//! full it becomes the older one and the oldest is forgotten.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use saltern_base::time::epoch;

use crate::StoreError;

const FILE: &str = "requests_seen";
const OLDER: &str = "requests_seen.1";
const RECORD: usize = 16;

/// The files, open for appending.
#[derive(Debug)]
pub struct SeenRequests {
    path: PathBuf,
    older: PathBuf,
    file: File,
    records: usize,
    capacity: usize,
}

impl SeenRequests {
    /// Opens (makes) the files below `cachedir`, each for `capacity` records. Gives the marks
    /// that are there, oldest first, with their age.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn open(
        cachedir: &Path,
        capacity: usize,
        now: SystemTime,
    ) -> Result<(Self, Vec<(Duration, u64)>), StoreError> {
        let (path, older) = (cachedir.join(FILE), cachedir.join(OLDER));
        let mut marks = Vec::new();
        let old = read(&older)?;
        records(&old, now, &mut marks);
        let current = read(&path)?;
        records(&current, now, &mut marks);
        let file = append_to(&path).map_err(|e| StoreError::io("open", &path, e))?;
        let whole = current.len() / RECORD;
        // A record cut short by a power failure must not shift those that follow.
        file.set_len((whole * RECORD) as u64).map_err(|e| StoreError::io("write", &path, e))?;
        Ok((SeenRequests { path, older, file, records: whole, capacity }, marks))
    }

    /// Keeps a mark. One write, which outlives a SIGKILL.
    ///
    /// # Errors
    /// The file system's refusal; later calls try again.
    pub fn note(&mut self, mark: u64, now: SystemTime) -> Result<(), StoreError> {
        if self.records >= self.capacity {
            self.turn().map_err(|e| StoreError::io("replace", &self.path, e))?;
        }
        let mut record = [0; RECORD];
        let (at, rest) = record.split_at_mut(8);
        at.copy_from_slice(&epoch(now).to_be_bytes());
        rest.copy_from_slice(&mark.to_be_bytes());
        self.file.write_all(&record).map_err(|e| StoreError::io("write", &self.path, e))?;
        self.records += 1;
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.older)?;
        self.file = append_to(&self.path)?;
        self.records = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|e| StoreError::io("read", path, e)),
    }
}

fn records(bytes: &[u8], now: SystemTime, marks: &mut Vec<(Duration, u64)>) {
    let number = |part: &[u8]| part.try_into().map_or(0, u64::from_be_bytes);
    for record in bytes.chunks_exact(RECORD) {
        let (at, mark) = record.split_at(8);
        let age = Duration::from_secs(epoch(now).saturating_sub(number(at)));
        marks.push((age, number(mark)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn marks(dir: &Path, now: SystemTime) -> Vec<(u64, u64)> {
        let (_, marks) = SeenRequests::open(dir, 3, now).unwrap();
        marks.into_iter().map(|(age, mark)| (age.as_secs(), mark)).collect()
    }

    #[test]
    fn marks_outlive_the_program_and_are_bounded() {
        let dir = Scratch::new();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        let (mut seen, none) = SeenRequests::open(dir.path(), 3, at(0)).unwrap();
        assert!(none.is_empty());
        for n in 0..5 {
            seen.note(100 + n, at(n)).unwrap();
        }
        drop(seen);
        assert_eq!(marks(dir.path(), at(10)), [(10, 100), (9, 101), (8, 102), (7, 103), (6, 104)]);
        // Half a record at the end is no record, and those that follow are read.
        let mut file = File::options().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(&[1, 2, 3]).unwrap();
        let (mut seen, _) = SeenRequests::open(dir.path(), 3, at(10)).unwrap();
        seen.note(7, at(10)).unwrap();
        seen.note(8, at(10)).unwrap();
        drop(seen);
        // A clock that was set back makes nothing older than it is.
        assert_eq!(marks(dir.path(), at(4)), [(1, 103), (0, 104), (0, 7), (0, 8)]);
    }
}
