//! The commands of wire-protocol §7 that read files. Every answer has exactly the shape Salt gives.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use saltern_crypto::HashType;
use saltern_value::{Map, Value};

use crate::FileError;
use crate::hash_cache::HashCache;
use crate::ignore::Ignore;
use crate::locate::{Found, Roots};
use crate::stamp::Stamp;
use crate::walk::{self, Form, Rules};

/// What the file server serves, and how (the master's options of the same names).
#[derive(Clone, Debug)]
pub struct Settings {
    /// `file_roots`: environments in their order, each with its directories. The name `__env__`
    /// serves every environment not named, and stands for its name in the directories.
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

impl Settings {
    /// Salt's defaults over these roots.
    #[must_use]
    pub fn new(roots: Vec<(String, Vec<PathBuf>)>) -> Self {
        Settings {
            roots,
            hash_type: HashType::Sha256,
            buffer_size: 1 << 20,
            follow_symlinks: true,
            ignore_symlinks: false,
            ignore_regex: Vec::new(),
            ignore_glob: Vec::new(),
        }
    }
}

/// The file server. `Send + Sync`; every function blocks on the disk.
#[derive(Debug)]
pub struct FileServer {
    roots: Roots,
    ignore: Ignore,
    ignore_symlinks: bool,
    buffer_size: usize,
    hashes: HashCache,
}

impl FileServer {
    /// A file server over these settings.
    ///
    /// # Errors
    /// A regular expression that is none.
    pub fn new(settings: Settings) -> Result<Self, FileError> {
        Ok(FileServer {
            ignore: Ignore::new(&settings.ignore_regex, &settings.ignore_glob)?,
            roots: Roots { envs: settings.roots, follow_symlinks: settings.follow_symlinks },
            ignore_symlinks: settings.ignore_symlinks,
            buffer_size: settings.buffer_size.max(1),
            hashes: HashCache::new(settings.hash_type),
        })
    }

    /// `_file_envs`: sorted names.
    #[must_use]
    pub fn envs(&self) -> Value {
        let mut names: Vec<String> = self.roots.envs.iter().map(|(env, _)| env.clone()).collect();
        names.sort_unstable();
        Value::from(names)
    }

    /// `_file_find`: `{path, rel, stat, back}`, or empty `path` and `rel`.
    #[must_use]
    pub fn find(&self, saltenv: &str, path: &str) -> Value {
        let Some(found) = self.locate(saltenv, path) else {
            return Value::from_iter([("path", ""), ("rel", "")]);
        };
        Value::Map(Map::from([
            ("path", Value::from(found.full.to_string_lossy().into_owned())),
            ("rel", Value::from(found.rel)),
            ("stat", stat(&found.meta)),
            ("back", Value::from("roots")),
        ]))
    }

    /// `_file_hash`: `{hash_type, hsum}`, or `""` when there is no such file.
    #[must_use]
    pub fn hash(&self, saltenv: &str, path: &str) -> Value {
        self.locate(saltenv, path).map_or_else(|| Value::from(""), |found| self.digest(&found))
    }

    /// `_file_hash_and_stat`: `[hash, stat]`.
    #[must_use]
    pub fn hash_and_stat(&self, saltenv: &str, path: &str) -> Value {
        Value::List(match self.locate(saltenv, path) {
            Some(found) => vec![self.digest(&found), stat(&found.meta)],
            None => vec![Value::from(""), Value::Nil],
        })
    }

    /// `_serve_file`: one chunk from byte `offset` on, compressed with `gzip` (level 1 to 9) when
    /// asked.
    #[must_use]
    pub fn serve(&self, saltenv: &str, path: &str, offset: u64, gzip: Option<u32>) -> Value {
        Piece::answer(self.piece(saltenv, path, offset, false), gzip)
    }

    /// One chunk from byte `offset` on, open to be read. `None` when there is no such file or it
    /// cannot be opened. `whole`: it is to tell of what it is a piece.
    #[must_use]
    pub fn piece(&self, saltenv: &str, path: &str, offset: u64, whole: bool) -> Option<Piece> {
        let found = self.locate(saltenv, path)?;
        let open = || -> io::Result<Piece> {
            let mut file = File::open(&found.full)?;
            // Of the open file: another may have taken its name since it was found.
            let meta = file.metadata()?;
            let left = usize::try_from(meta.len().saturating_sub(offset)).unwrap_or(usize::MAX);
            let length = left.min(self.buffer_size);
            if length > 0 {
                file.seek(SeekFrom::Start(offset))?;
            }
            let whole = if whole { Whole::of(&meta) } else { None };
            Ok(Piece { file, length, dest: found.rel.clone(), whole })
        };
        open()
            .inspect_err(|error| log::warn!("cannot serve {}: {error}", found.full.display()))
            .ok()
    }

    /// `_file_list`: sorted paths of files that begin with `prefix` (empty: all).
    #[must_use]
    pub fn list(&self, saltenv: &str, prefix: &str) -> Value {
        self.paths(saltenv, prefix, Form::Files)
    }

    /// `_file_list_emptydirs`
    #[must_use]
    pub fn empty_dirs(&self, saltenv: &str, prefix: &str) -> Value {
        self.paths(saltenv, prefix, Form::EmptyDirs)
    }

    /// `_dir_list`
    #[must_use]
    pub fn dirs(&self, saltenv: &str, prefix: &str) -> Value {
        self.paths(saltenv, prefix, Form::Dirs)
    }

    /// `_symlink_list`: link to target.
    #[must_use]
    pub fn symlinks(&self, saltenv: &str, prefix: &str) -> Value {
        walk::links(&self.roots.of(saltenv), self.rules(prefix)).into_iter().collect()
    }

    /// Where the file lies, for callers that read it themselves (pillar); the same rules as for
    /// minions, but `path` is taken literally.
    #[must_use]
    pub fn path_of(&self, saltenv: &str, path: &str) -> Option<PathBuf> {
        self.locate(saltenv, &format!("|{path}")).map(|found| found.full)
    }

    fn paths(&self, saltenv: &str, prefix: &str, form: Form) -> Value {
        let paths = walk::list(&self.roots.of(saltenv), form, self.rules(prefix));
        Value::List(paths.into_iter().map(Value::Str).collect())
    }

    fn rules<'a>(&'a self, prefix: &'a str) -> Rules<'a> {
        Rules {
            follow_symlinks: self.roots.follow_symlinks,
            ignore_symlinks: self.ignore_symlinks,
            ignore: &self.ignore,
            prefix: prefix.trim_matches('/'),
        }
    }

    fn locate(&self, saltenv: &str, path: &str) -> Option<Found> {
        self.roots.find(saltenv, path, &self.ignore)
    }

    fn digest(&self, found: &Found) -> Value {
        match self.hashes.digest(&found.full) {
            Ok(digest) => Value::from_iter([
                ("hash_type", self.hashes.hash_type().name().to_owned()),
                ("hsum", digest),
            ]),
            Err(e) => {
                log::warn!("cannot read {}: {e}", found.full.display());
                Value::from("")
            }
        }
    }
}

/// A chunk of a served file.
#[derive(Debug)]
pub struct Piece {
    /// At its first byte.
    pub file: File,
    /// Bytes it had when it was opened.
    pub length: usize,
    /// Its name below its root.
    pub dest: String,
    /// What it is a piece of, when that was asked for.
    pub whole: Option<Whole>,
}

/// A file as a whole. With it a minion knows the end of a file without asking for more, and that
/// all pieces are of the same content without its hash, for which the master would have to read the
/// file once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Another one for every other content, on one master.
    pub version: String,
    /// Bytes.
    pub size: u64,
}

impl Whole {
    /// `None` for a file that was changed a moment ago: a change that follows would not show.
    fn of(meta: &Metadata) -> Option<Self> {
        let stamp = Stamp::of(meta);
        let settled = stamp.is_settled(SystemTime::now());
        settled.then(|| Whole { version: stamp.to_string(), size: meta.len() })
    }

    /// Its fields in the answer to `_serve_file`.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, Value); 2] {
        [("version", Value::from(self.version.as_str())), ("size", Value::from(self.size))]
    }
}

impl Piece {
    /// The answer to `_serve_file` with this chunk; `None` is the answer for no such file.
    #[must_use]
    pub fn answer(piece: Option<Self>, gzip: Option<u32>) -> Value {
        let nothing = || Value::from_iter([("data", ""), ("dest", "")]);
        let Some(piece) = piece else { return nothing() };
        let (dest, whole) = (piece.dest.clone(), piece.whole.clone());
        let (data, level) = match piece.bytes(gzip.filter(|level| *level > 0)) {
            Ok(chunk) => chunk,
            Err(e) => {
                log::warn!("cannot serve {dest}: {e}");
                return nothing();
            }
        };
        let mut reply = Map::from([("data", Value::Bytes(data)), ("dest", Value::from(dest))]);
        if let Some(level) = level {
            reply.insert("gzip", level);
        }
        for (name, value) in whole.iter().flat_map(Whole::fields) {
            reply.insert(name, value);
        }
        Value::Map(reply)
    }

    /// Its bytes; the level when they are compressed. Fewer than announced when the file was cut
    /// meanwhile.
    fn bytes(self, gzip: Option<u32>) -> io::Result<(Vec<u8>, Option<u32>)> {
        let mut data = Vec::with_capacity(self.length);
        self.file.take(self.length as u64).read_to_end(&mut data)?;
        match gzip {
            Some(level) if !data.is_empty() => {
                let mut packer = GzEncoder::new(Vec::new(), Compression::new(level.min(9)));
                packer.write_all(&data)?;
                Ok((packer.finish()?, Some(level)))
            }
            _ => Ok((data, None)),
        }
    }
}

/// Python's `os.stat` as a list: mode, inode, device, links, uid, gid, size, and the times of
/// access, change of content and change of state in whole seconds.
fn stat(meta: &Metadata) -> Value {
    Value::List(vec![
        Value::from(meta.mode()),
        Value::from(meta.ino()),
        Value::from(meta.dev()),
        Value::from(meta.nlink()),
        Value::from(meta.uid()),
        Value::from(meta.gid()),
        Value::from(meta.size()),
        Value::from(meta.atime()),
        Value::from(meta.mtime()),
        Value::from(meta.ctime()),
    ])
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
