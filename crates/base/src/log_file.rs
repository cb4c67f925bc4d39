//! The log file: created with its directories, found again after it was moved, and set aside
//! when it is full.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A handle to the open log file; clones write to the same one.
#[derive(Clone, Debug)]
pub(crate) struct LogFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    rotate_bytes: u64,
    rotate_keep: u32,
    file: Mutex<File>,
}

impl LogFile {
    pub(crate) fn open(path: &Path, rotate_bytes: u64, rotate_keep: u32) -> io::Result<Self> {
        let file = open(path).map_err(|error| {
            let reason = format!("log_file {} cannot be opened: {error}", path.display());
            io::Error::new(error.kind(), reason)
        })?;
        let file = Mutex::new(file);
        Ok(LogFile(Arc::new(Inner { path: path.to_owned(), rotate_bytes, rotate_keep, file })))
    }

    pub(crate) fn reopen(&self) -> io::Result<()> {
        let new = open(&self.0.path)?;
        *self.0.file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Appends a whole line. A disk that is full loses the line, not the program.
    pub(crate) fn write(&self, line: &[u8]) {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.follow(&mut file, line.len() as u64);
        let _ = file.write_all(line);
    }
}

impl Inner {
    /// Looks whether the path still leads to the open file, as Salt does before each line, so
    /// that a log rotation needs no signal.
    fn follow(&self, file: &mut File, more: u64) {
        let Ok(open_now) = file.metadata() else { return };
        let moved = fs::metadata(&self.path)
            .map_or(true, |at| (at.dev(), at.ino()) != (open_now.dev(), open_now.ino()));
        if moved {
            if let Ok(new) = open(&self.path) {
                *file = new;
            }
        } else if self.rotate_bytes > 0
            && open_now.is_file()
            && open_now.len() + more > self.rotate_bytes
        {
            self.rotate(file);
        }
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2` and so on; the last one goes. With nothing
    /// to keep, the file goes on growing (Python's rule).
    fn rotate(&self, file: &mut File) {
        if self.rotate_keep == 0 {
            return;
        }
        let aside = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..self.rotate_keep.min(1000)).rev() {
            // A gap in the numbers is no error.
            let _ = fs::rename(aside(n), aside(n + 1));
        }
        if fs::rename(&self.path, aside(1)).is_ok()
            && let Ok(new) = open(&self.path)
        {
            *file = new;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let named = path.to_string_lossy();
    if ["file://", "udp://", "tcp://"].iter().any(|scheme| named.starts_with(scheme)) {
        let reason = "logging to syslog is not built yet; name a file, or let the service manager \
                      take what is printed";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
        DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
    }
    // 0640 as Salt's umask makes it: what is logged is not for everyone.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("saltern-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn directories_are_made_and_a_moved_file_is_noticed() {
        let dir = scratch("moved");
        let path = dir.join("deep/minion");
        let file = LogFile::open(&path, 0, 0).unwrap();
        file.write(b"one\n");
        fs::rename(&path, dir.join("old")).unwrap();
        file.write(b"two\n");
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        fs::remove_file(&path).unwrap();
        file.reopen().unwrap();
        assert!(path.exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_full_file_is_set_aside() {
        let dir = scratch("full");
        let path = dir.join("minion");
        let file = LogFile::open(&path, 8, 2).unwrap();
        for line in [b"1111\n", b"2222\n", b"3333\n", b"4444\n"] {
            file.write(line);
        }
        assert_eq!(fs::read(&path).unwrap(), b"4444\n");
        assert_eq!(fs::read(dir.join("minion.1")).unwrap(), b"3333\n");
        assert_eq!(fs::read(dir.join("minion.2")).unwrap(), b"2222\n");
        assert!(!dir.join("minion.3").exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_cannot_be_opened_says_so() {
        let error = LogFile::open(Path::new("/dev/null/log"), 0, 0).unwrap_err().to_string();
        assert!(error.contains("log_file /dev/null/log"), "{error}");
        let error = LogFile::open(Path::new("file:///dev/log"), 0, 0).unwrap_err().to_string();
        assert!(error.contains("syslog"), "{error}");
    }
}
