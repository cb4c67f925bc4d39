//! The lines that another process appends to a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) struct Tail {
    path: PathBuf,
    offset: u64,
    /// A line that is not complete yet.
    rest: Vec<u8>,
}

impl Tail {
    pub(crate) fn new(path: &Path) -> Self {
        Tail { path: path.to_path_buf(), offset: 0, rest: Vec::new() }
    }

    /// The lines that were completed since the last call; none while there is no file.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.offset)).unwrap();
            self.offset += file.read_to_end(&mut self.rest).unwrap() as u64;
        }
        let complete = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let bytes: Vec<u8> = self.rest.drain(..complete).collect();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}
