//! What this minion has run, on disk: a publication somebody recorded cannot be sent again to a
//! minion that has started anew (CVE-2022-22936).
//!
//! Masters number their publications under each AES key, so the highest number taken under a key
//! says which ones are old, whatever the clocks of both say. Publications without a number
//! (clusters of Salt 3008) are told apart by their job ids.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use saltern_base::{Jid, atomic_file};

/// The file below `cachedir`.
const FILE: &str = "jobs_taken";

/// AES keys remembered: each master has one, and a new one after its restarts.
const KEYS: usize = 64;

/// Lines appended before the file is written anew with what counts.
const LINES: usize = 4096;

/// Stands for a missing part of a line.
const NONE: &str = "-";

/// The record of jobs taken. A line is `KEY SERIAL JID`; it is appended before the job runs.
#[derive(Debug)]
pub(crate) struct Taken {
    path: PathBuf,
    file: Option<File>,
    serials: VecDeque<(String, i64)>,
    jids: VecDeque<Jid>,
    keep: usize,
    lines: usize,
    failed: bool,
}

impl Taken {
    /// The record in that cache directory, with the last `keep` job ids. Reads nothing yet.
    pub(crate) fn new(cachedir: &std::path::Path, keep: usize) -> Self {
        Taken {
            path: cachedir.join(FILE),
            file: None,
            serials: VecDeque::new(),
            jids: VecDeque::new(),
            keep: keep.max(1),
            lines: 0,
            failed: false,
        }
    }

    /// Reads what was taken before. Lines that are none, as after a full disk, are passed over.
    pub(crate) fn load(&mut self) {
        let text = match fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                log::warn!(
                    "{} cannot be read, so jobs taken before are not known: {error}",
                    self.path.display()
                );
                return;
            }
        };
        for line in text.lines() {
            let mut parts = line.split(' ');
            let (Some(key), Some(serial), Some(jid)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if let Ok(serial) = serial.parse()
                && key != NONE
            {
                self.remember_serial(key, serial);
            }
            if let Ok(jid) = Jid::parse(jid) {
                self.remember_jid(jid);
            }
        }
        // Half a line at the end must not swallow the first new one.
        self.rewrite();
    }

    /// The highest serial taken under an AES key.
    pub(crate) fn serial(&self, key: &str) -> Option<i64> {
        self.serials.iter().find(|(known, _)| known == key).map(|(_, serial)| *serial)
    }

    /// The ids of the last jobs, oldest first.
    pub(crate) fn jids(&self) -> impl Iterator<Item = &Jid> {
        self.jids.iter()
    }

    /// Notes a job that is about to run. One write of some bytes, which outlives a SIGKILL.
    pub(crate) fn note(&mut self, key: &str, serial: Option<i64>, jid: &Jid) {
        if let Some(serial) = serial {
            self.remember_serial(key, serial);
        }
        self.remember_jid(jid.clone());
        if self.lines >= LINES {
            return self.rewrite();
        }
        self.lines += 1;
        let serial = serial.map_or_else(|| NONE.to_owned(), |s| s.to_string());
        let done = self.append(&format!("{key} {serial} {jid}\n"));
        self.report(done);
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                none.insert(File::options().append(true).create(true).mode(0o600).open(&self.path)?)
            }
        };
        file.write_all(line.as_bytes())
    }

    fn rewrite(&mut self) {
        let mut text = String::new();
        for (key, serial) in &self.serials {
            text.push_str(&format!("{key} {serial} {NONE}\n"));
        }
        for jid in &self.jids {
            text.push_str(&format!("{NONE} {NONE} {jid}\n"));
        }
        self.file = None;
        self.lines = 0;
        let done = atomic_file::write(&self.path, text.as_bytes(), 0o600);
        self.report(done);
    }

    /// A disk that is full is no reason to run no jobs: that may be how it gets room again.
    fn report(&mut self, done: io::Result<()>) {
        let Err(error) = done else {
            self.failed = false;
            return;
        };
        if !self.failed {
            log::error!(
                "{} cannot be written, so jobs could be replayed after a restart: {error}",
                self.path.display()
            );
            self.failed = true;
        }
    }

    fn remember_serial(&mut self, key: &str, serial: i64) {
        let place = self.serials.iter().position(|(known, _)| known == key);
        let old = place.and_then(|place| self.serials.remove(place)).map(|(_, serial)| serial);
        self.serials.push_back((key.to_owned(), old.map_or(serial, |old| old.max(serial))));
        if self.serials.len() > KEYS {
            self.serials.pop_front();
        }
    }

    fn remember_jid(&mut self, jid: Jid) {
        self.jids.push_back(jid);
        if self.jids.len() > self.keep {
            self.jids.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(n: u32) -> Jid {
        Jid::parse(&format!("20260102030405{n:06}")).unwrap()
    }

    fn again(taken: &Taken) -> Taken {
        let mut fresh = Taken::new(taken.path.parent().unwrap(), taken.keep);
        fresh.load();
        fresh
    }

    #[test]
    fn serials_and_job_ids_outlive_the_program() {
        let dir = std::env::temp_dir().join(format!("saltern-taken-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut taken = Taken::new(&dir, 3);
        taken.load();
        assert_eq!(taken.serial("a"), None);
        for n in 0..5 {
            taken.note("a", Some(i64::from(n)), &jid(n));
        }
        taken.note("b", None, &jid(9));
        let fresh = again(&taken);
        assert_eq!(fresh.serial("a"), Some(4));
        assert_eq!(fresh.serial("b"), None);
        assert_eq!(fresh.jids().cloned().collect::<Vec<_>>(), [jid(3), jid(4), jid(9)]);

        // Half a line at the end, garbage, and a serial that goes back change nothing.
        let mut file = File::options().append(true).open(dir.join(FILE)).unwrap();
        file.write_all(b"\xff\xfe nonsense\na 2 -\na 1").unwrap();
        let mut fresh = again(&taken);
        assert_eq!(fresh.serial("a"), Some(4));
        fresh.note("a", Some(5), &jid(10));
        assert_eq!(again(&fresh).serial("a"), Some(5));

        // The file stays small, and old keys give way to new ones.
        for n in 0..10_000 {
            fresh.note(&format!("k{}", n % 100), Some(i64::from(n)), &jid(n));
        }
        assert!(fs::metadata(dir.join(FILE)).unwrap().len() < 300_000);
        let fresh = again(&fresh);
        assert_eq!((fresh.serial("a"), fresh.serial("k99")), (None, Some(9999)));
        fs::remove_dir_all(dir).unwrap();
    }
}
