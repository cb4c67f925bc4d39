//! The commands of wire-protocol §7 that read files. Every answer has exactly the shape Salt gives.

use std::path::PathBuf;

use saltern_crypto::HashType;
use saltern_value::Value;

use crate::FileError;

/// What the file server serves, and how (the master's options of the same names).
#[derive(Clone, Debug)]
pub struct Settings {
    /// `file_roots`: environments in their order, each with its directories. The name `__env__`
    /// serves every environment not named.
    pub roots: Vec<(String, Vec<PathBuf>)>,
    /// `hash_type`
    pub hash_type: HashType,
    /// `file_buffer_size`, bytes per served chunk.
    pub buffer_size: usize,
    /// `fileserver_followsymlinks`: links may leave the root.
    pub follow_symlinks: bool,
    /// `fileserver_ignoresymlinks`: links are not listed.
    pub ignore_symlinks: bool,
    /// `file_ignore_regex`
    pub ignore_regex: Vec<String>,
    /// `file_ignore_glob`
    pub ignore_glob: Vec<String>,
}

/// The file server. `Send + Sync`; every function blocks on the disk.
#[derive(Debug)]
pub struct FileServer {}

impl FileServer {
    /// A file server over these settings.
    ///
    /// # Errors
    /// A regular expression that is none.
    pub fn new(_settings: Settings) -> Result<Self, FileError> {
        todo!()
    }

    /// `_file_envs`: sorted names.
    #[must_use]
    pub fn envs(&self) -> Value {
        todo!()
    }

    /// `_file_find`: `{path, rel, stat, back}`, or empty `path` and `rel`.
    #[must_use]
    pub fn find(&self, _saltenv: &str, _path: &str) -> Value {
        todo!()
    }

    /// `_file_hash`: `{hash_type, hsum}`, or `""` when there is no such file.
    #[must_use]
    pub fn hash(&self, _saltenv: &str, _path: &str) -> Value {
        todo!()
    }

    /// `_file_hash_and_stat`: `[hash, stat]`.
    #[must_use]
    pub fn hash_and_stat(&self, _saltenv: &str, _path: &str) -> Value {
        todo!()
    }

    /// `_serve_file`: one chunk from byte `offset` on, compressed with `gzip` (level 1 to 9) when
    /// asked.
    #[must_use]
    pub fn serve(&self, _saltenv: &str, _path: &str, _offset: u64, _gzip: Option<u32>) -> Value {
        todo!()
    }

    /// `_file_list`: sorted paths of files below `prefix` (a path of whole components; empty: all).
    #[must_use]
    pub fn list(&self, _saltenv: &str, _prefix: &str) -> Value {
        todo!()
    }

    /// `_file_list_emptydirs`
    #[must_use]
    pub fn empty_dirs(&self, _saltenv: &str, _prefix: &str) -> Value {
        todo!()
    }

    /// `_dir_list`
    #[must_use]
    pub fn dirs(&self, _saltenv: &str, _prefix: &str) -> Value {
        todo!()
    }

    /// `_symlink_list`: link to target.
    #[must_use]
    pub fn symlinks(&self, _saltenv: &str, _prefix: &str) -> Value {
        todo!()
    }
}
