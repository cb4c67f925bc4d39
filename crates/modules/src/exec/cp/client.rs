//! The file client: asks the master (or, masterless, our own file roots) for files and keeps them
//! in `<cachedir>/files`. A path a master names never leaves that directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use saltern_crypto::HashType;
use saltern_target::Glob;
use saltern_value::{Map, Value};

use crate::context::Context;
use crate::error::Error;

/// Where a file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Url {
    /// The file server: a path without a slash in front, and the environment.
    Salt { path: String, env: String },
    /// A file of the minion.
    Local(PathBuf),
    /// Another scheme, which is not supported.
    Other(String),
}

impl Url {
    /// Reads an address. `?saltenv=` behind a salt address says the environment.
    pub(super) fn parse(text: &str, env: &str) -> Self {
        if let Some(rest) = text.strip_prefix("salt://") {
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            let asked = query.split('&').find_map(|part| part.strip_prefix("saltenv="));
            let path = path.trim_start_matches(['|', '/']).to_owned();
            return Url::Salt { path, env: asked.unwrap_or(env).to_owned() };
        }
        if let Some(rest) = text.strip_prefix("file://") {
            return Url::Local(PathBuf::from(rest));
        }
        match text.split_once("://") {
            Some((scheme, _)) => Url::Other(scheme.to_owned()),
            None => Url::Local(PathBuf::from(text)),
        }
    }
}

pub(super) fn unsupported(scheme: &str) -> Error {
    Error::exec(format!("{scheme}:// is not supported yet; use salt:// or a path of the minion"))
}

/// A path a master named, as one that stays inside of where it is put.
pub(super) fn inside(path: &str) -> Result<PathBuf, Error> {
    let refused = || Error::exec(format!("The path '{path}' leads out of its directory; refused"));
    let trimmed = Path::new(path.trim_start_matches('/'));
    let mut clean = PathBuf::new();
    for part in trimmed.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            _ => return Err(refused()),
        }
    }
    if clean.as_os_str().is_empty() || path.contains('\0') { Err(refused()) } else { Ok(clean) }
}

/// Which paths are meant.
pub(super) type Pattern = Box<dyn Fn(&str) -> bool>;

/// A shell pattern, or a regular expression after `E@`.
pub(super) fn pattern(text: Option<&str>) -> Result<Option<Pattern>, Error> {
    let Some(text) = text else { return Ok(None) };
    if let Some(expression) = text.strip_prefix("E@") {
        let regex = fancy_regex::Regex::new(expression)
            .map_err(|e| Error::invalid(format!("'{expression}' is no regular expression: {e}")))?;
        return Ok(Some(Box::new(move |path| regex.is_match(path).unwrap_or(false))));
    }
    let glob = Glob::new(text);
    Ok(Some(Box::new(move |path| glob.matches(path))))
}

/// The file client of one call.
pub(super) struct FileClient<'a> {
    pub(super) ctx: &'a Context<'a>,
}

impl<'a> FileClient<'a> {
    pub(super) fn new(ctx: &'a Context<'a>) -> Self {
        FileClient { ctx }
    }

    pub(super) fn request(&self, load: Map) -> Result<Value, Error> {
        Ok(self.ctx.host().request(load, None)?)
    }

    pub(super) fn about(&self, cmd: &str, path: &str, env: &str) -> Result<Value, Error> {
        self.request(Map::from([("cmd", cmd), ("path", path), ("saltenv", env)]))
    }

    pub(super) fn list(&self, cmd: &str, env: &str, prefix: &str) -> Result<Value, Error> {
        self.request(Map::from([("cmd", cmd), ("saltenv", env), ("prefix", prefix)]))
    }

    fn names_below(&self, cmd: &str, env: &str, dir: &str) -> Result<Vec<String>, Error> {
        let all = self.list(cmd, env, dir)?;
        let below = |name: &&str| {
            dir.is_empty() || name.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
        };
        let names = all.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
        Ok(names.filter(below).map(str::to_owned).collect())
    }

    /// The files below a directory of the file server.
    pub(super) fn below(&self, env: &str, dir: &str) -> Result<Vec<String>, Error> {
        self.names_below("_file_list", env, dir)
    }

    /// The empty directories below a directory of the file server.
    pub(super) fn empty_dirs_below(&self, env: &str, dir: &str) -> Result<Vec<String>, Error> {
        self.names_below("_file_list_emptydirs", env, dir)
    }

    fn cachedir(&self) -> Result<PathBuf, Error> {
        self.ctx
            .opt_str("cachedir")
            .map(PathBuf::from)
            .ok_or_else(|| Error::exec("the option 'cachedir' is not set"))
    }

    pub(super) fn hash_type(&self) -> HashType {
        self.ctx.opt_str("hash_type").and_then(|n| HashType::parse(&n)).unwrap_or(HashType::Sha256)
    }

    /// `{hash_type, hsum}`; empty when there is no such file.
    pub(super) fn hash(&self, url: &Url) -> Result<Value, Error> {
        match url {
            Url::Salt { path, env } => self.about("_file_hash", path, env),
            Url::Local(path) if path.is_file() => {
                let kind = self.hash_type();
                let hsum =
                    hash_of(path, kind).map_err(|e| crate::exec::file::os_error(&e, path))?;
                Ok(Value::from_iter([("hsum", hsum.as_str()), ("hash_type", kind.name())]))
            }
            Url::Local(path) => {
                log::warn!("specified file {} is not present to generate hash", path.display());
                // Salt's shape for this: no hash, and no stat beside it.
                Ok(Value::List(vec![Value::Map(Map::new()), Value::Nil]))
            }
            Url::Other(scheme) => Err(unsupported(scheme)),
        }
    }

    /// The mode bits of a file, kind included.
    pub(super) fn mode(&self, url: &Url) -> Result<Option<i64>, Error> {
        match url {
            Url::Salt { path, env } => {
                let found = self.about("_file_find", path, env)?;
                let stat = found.get("stat").and_then(Value::as_list);
                Ok(stat.and_then(<[Value]>::first).and_then(Value::as_int))
            }
            Url::Local(path) => Ok(fs::metadata(path).ok().map(|m| i64::from(m.mode()))),
            Url::Other(scheme) => Err(unsupported(scheme)),
        }
    }

    /// The place of a path in the cache.
    pub(super) fn cache_place(&self, env: &str, path: &str) -> Result<PathBuf, Error> {
        let env = inside(env)?;
        if env.components().count() != 1 {
            return Err(Error::exec(format!("'{}' is no name of an environment", env.display())));
        }
        Ok(self.cachedir()?.join("files").join(env).join(inside(path)?))
    }

    /// A file in the cache, fetched when it is not there or differs.
    pub(super) fn cache(&self, url: &Url) -> Result<Option<PathBuf>, Error> {
        match url {
            Url::Salt { .. } => Ok(self.fetch(url, None, true, None)?.path()),
            Url::Local(path) if !path.is_absolute() => {
                Err(Error::exec(format!("Path '{}' is not absolute", path.display())))
            }
            Url::Local(path) => Ok(Some(path.clone())),
            Url::Other(scheme) => Err(unsupported(scheme)),
        }
    }

    pub(super) fn cached(&self, url: &Url) -> Result<Option<PathBuf>, Error> {
        let (places, cache) = match url {
            Url::Salt { path, env } => (vec![self.cache_place(env, path)?], self.cachedir()?),
            Url::Local(path) => (
                Vec::new(),
                self.cachedir()?.join("localfiles").join(inside(&path.to_string_lossy())?),
            ),
            Url::Other(_) => return Ok(None),
        };
        let local = matches!(url, Url::Local(_)).then_some(cache);
        Ok(places.into_iter().chain(local).find(|place| place.exists()))
    }

    pub(super) fn cache_local(&self, path: &Path) -> Result<PathBuf, Error> {
        let place = self.cachedir()?.join("localfiles").join(inside(&path.to_string_lossy())?);
        make_private_dirs(&place)?;
        fs::copy(path, &place).map_err(|e| crate::exec::file::os_error(&e, path))?;
        Ok(place)
    }

    pub(super) fn make_cache_dir(&self, env: &str, dir: &str) -> Result<PathBuf, Error> {
        let place = self.cache_place(env, dir)?;
        private_dirs(&place)?;
        Ok(place)
    }

    pub(super) fn cached_files(&self, env: &str) -> Result<Value, Error> {
        let cache = self.cachedir()?;
        let mut todo = vec![cache.join("files").join(inside(env)?), cache.join("localfiles")];
        let mut found = Vec::new();
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                    Ok(_) => found.push(entry.path().to_string_lossy().into_owned()),
                    Err(_) => {}
                }
            }
        }
        found.sort();
        Ok(found.into())
    }
}

pub(super) fn hash_of(path: &Path, kind: HashType) -> io::Result<String> {
    kind.hex_digest_of(File::open(path)?)
}

fn private_dirs(dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| crate::exec::file::os_error(&e, dir))
}

/// Makes the directories above a place in the cache. A file where a directory has to be goes.
pub(super) fn make_private_dirs(place: &Path) -> Result<(), Error> {
    let Some(dir) = place.parent() else { return Ok(()) };
    if dir.is_file() {
        fs::remove_file(dir)?;
    }
    private_dirs(dir)
}
