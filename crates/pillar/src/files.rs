//! Where SLS files come from.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use saltern_fileserver::FileServer;

use crate::render::{Parsed, RenderError, Renderer};

/// An SLS file that was found.
#[derive(Clone, Debug)]
pub struct Sls {
    /// Its path below the root, as asked for: tells `a.sls` from `a/init.sls`.
    pub path: String,
    /// What is in it.
    pub content: Arc<Parsed>,
}

/// Reads SLS files of an environment. The compiler asks for relative paths (`top.sls`,
/// `web/init.sls`); the reader keeps them inside of the roots.
pub trait Files: Send + Sync {
    /// The names of the environments, in their order; `__env__` stands for all others.
    fn envs(&self) -> Vec<String>;
    /// The file, or `None` when no root of the environment has it.
    fn read(&self, saltenv: &str, path: &str) -> Option<Sls>;
    /// The paths of all files of an environment, sorted; asked for only when a name is a glob.
    fn list(&self, saltenv: &str) -> Vec<String>;
}

/// Bytes of source text whose parsed form is kept: some ten times that in memory.
const CACHED_BYTES: u64 = 2 << 20;
/// Larger files are no SLS files.
const MAX_FILE: u64 = 16 << 20;

/// Tells whether a file is the one that was parsed.
type Stamp = (u64, u64, u64, i64, i64);

/// [`Files`] on disk, with a bounded cache of parsed files by path, time and size.
#[derive(Debug)]
pub struct DiskFiles {
    envs: Vec<String>,
    server: FileServer,
    renderer: Renderer,
    parsed: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    files: HashMap<PathBuf, (Stamp, Arc<Parsed>)>,
    bytes: u64,
}

impl DiskFiles {
    /// Reads below `roots` (`pillar_roots`) through the rules of the file server. `server` must
    /// have been made with the same roots.
    #[must_use]
    pub fn new(roots: &[(String, Vec<PathBuf>)], server: FileServer, renderer: Renderer) -> Self {
        let envs = roots.iter().map(|(env, _)| env.clone()).collect();
        DiskFiles { envs, server, renderer, parsed: Mutex::default() }
    }

    fn parse(&self, path: &Path) -> Arc<Parsed> {
        let name = path.display().to_string();
        let failed = |e: io::Error| {
            let message = format!("{name} cannot be read: {e}");
            Arc::new(Err(RenderError { message, safe: true }))
        };
        let (file, stamp) = match open(path) {
            Ok(opened) => opened,
            Err(e) => return failed(e),
        };
        if let Some(known) = self.cached(path, stamp) {
            return known;
        }
        let mut text = String::new();
        if let Err(e) = file.take(MAX_FILE).read_to_string(&mut text) {
            return failed(e);
        }
        let content = Arc::new(self.renderer.render(&text, &name));
        self.keep(path, stamp, &content);
        content
    }

    fn cached(&self, path: &Path, stamp: Stamp) -> Option<Arc<Parsed>> {
        let cache = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, content) = cache.files.get(path)?;
        (*known == stamp).then(|| Arc::clone(content))
    }

    fn keep(&self, path: &Path, stamp: Stamp, content: &Arc<Parsed>) {
        let size = weight(&stamp);
        let mut cache = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = &mut *cache;
        if let Some((old, _)) = cache.files.remove(path) {
            cache.bytes = cache.bytes.saturating_sub(weight(&old));
        }
        if size > CACHED_BYTES / 2 {
            return;
        }
        while cache.bytes + size > CACHED_BYTES {
            let Some(other) = cache.files.keys().next().cloned() else { break };
            if let Some((old, _)) = cache.files.remove(&other) {
                cache.bytes = cache.bytes.saturating_sub(weight(&old));
            }
        }
        cache.bytes += size;
        cache.files.insert(path.to_owned(), (stamp, Arc::clone(content)));
    }
}

/// What an entry counts; small files cost more than their text.
fn weight(stamp: &Stamp) -> u64 {
    stamp.2 + 512
}

fn open(path: &Path) -> io::Result<(File, Stamp)> {
    let file = File::open(path)?;
    let meta: fs::Metadata = file.metadata()?;
    if meta.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    let stamp = (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
    Ok((file, stamp))
}

impl Files for DiskFiles {
    fn envs(&self) -> Vec<String> {
        self.envs.clone()
    }

    fn read(&self, saltenv: &str, path: &str) -> Option<Sls> {
        let full = self.server.path_of(saltenv, path)?;
        Some(Sls { path: path.to_owned(), content: self.parse(&full) })
    }

    fn list(&self, saltenv: &str) -> Vec<String> {
        let list = self.server.list(saltenv, "");
        let paths = list.as_list().unwrap_or_default().iter();
        paths.filter_map(|path| path.as_str().map(str::to_owned)).collect()
    }
}
