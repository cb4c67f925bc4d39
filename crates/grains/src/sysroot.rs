//! Files of a host, below a directory that is `/` except in tests.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes of one file that are read: `/proc/cpuinfo` of a large host has 400 kB.
const MAX_TEXT: u64 = 4 << 20;

/// A host's files.
#[derive(Clone, Debug)]
pub(crate) struct Sysroot {
    root: PathBuf,
}

impl Sysroot {
    pub(crate) fn new(root: &Path) -> Self {
        Sysroot { root: root.to_owned() }
    }

    /// Where a path with a leading `/` lies.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(crate) fn is_file(&self, path: &str) -> bool {
        self.path(path).is_file()
    }

    pub(crate) fn is_dir(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    /// A file as text; bytes that are none are replaced. `None` when it cannot be read.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path)).ok()?.take(MAX_TEXT).read_to_end(&mut bytes).ok()?;
        Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// A file's text without white space around it.
    pub(crate) fn read_line(&self, path: &str) -> Option<String> {
        self.read(path).map(|text| text.trim().to_owned())
    }

    /// The names in a directory, sorted; none when it cannot be read.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A program of that name in the usual directories and those of `PATH`, as an absolute path
    /// of the host.
    pub(crate) fn which(&self, program: &str) -> Option<String> {
        use std::os::unix::fs::PermissionsExt;
        let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let path = std::env::var("PATH").unwrap_or_default();
        let executable = |path: &String| {
            fs::metadata(self.path(path))
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        let dirs = path.split(':').chain(usual.split(':')).filter(|dir| dir.starts_with('/'));
        dirs.map(|dir| format!("{}/{program}", dir.trim_end_matches('/'))).find(executable)
    }

    /// Which of `needles` (lower case) occurs first in a file, in either case; the file is read in
    /// pieces.
    pub(crate) fn find_in(&self, path: &str, needles: &[&str]) -> Option<usize> {
        let overlap = needles.iter().map(|n| n.len()).max()?.checked_sub(1)?;
        let mut file = File::open(self.path(path)).ok()?;
        let mut buffer = vec![0u8; 64 * 1024];
        let mut kept = 0;
        loop {
            let read = file.read(buffer.get_mut(kept..)?).ok().filter(|read| *read > 0)?;
            let end = kept + read;
            let piece = buffer.get(..end)?;
            let place = |needle: &str| {
                piece.windows(needle.len()).position(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
            };
            let hits = needles.iter().enumerate().filter_map(|(i, n)| place(n).map(|at| (at, i)));
            if let Some((_, needle)) = hits.min() {
                return Some(needle);
            }
            let start = end.saturating_sub(overlap);
            buffer.copy_within(start..end, 0);
            kept = end - start;
        }
    }
}
