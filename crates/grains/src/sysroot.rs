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

    /// Where one of `needles` first occurs in a file, read in pieces; the index of the needle.
    pub(crate) fn find_in(&self, path: &str, needles: &[&str]) -> Option<usize> {
        let mut found = None;
        self.scan(path, 16, |piece| {
            let place = |needle: &str| {
                piece.windows(needle.len()).position(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
            };
            found = needles
                .iter()
                .enumerate()
                .filter_map(|(i, needle)| place(needle).map(|at| (at, i)))
                .min()
                .map(|(_, i)| i);
            found.is_some()
        });
        found
    }

    /// Shows a file to `look` piece by piece, each with the last `overlap` bytes of the one
    /// before, until it says that it is done.
    pub(crate) fn scan(&self, path: &str, overlap: usize, mut look: impl FnMut(&[u8]) -> bool) {
        let Ok(mut file) = File::open(self.path(path)) else { return };
        let mut buffer = vec![0u8; 64 * 1024];
        let mut kept = 0;
        loop {
            let Some(space) = buffer.get_mut(kept..) else { return };
            let read = match file.read(space) {
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            let end = kept + read;
            if look(buffer.get(..end).unwrap_or_default()) {
                return;
            }
            let start = end.saturating_sub(overlap);
            buffer.copy_within(start..end, 0);
            kept = end - start;
        }
    }
}
