//! Fetching a file: whole and right, or not at all.
//!
//! What is here already is compared by its hash, as Salt's minion does. What is not here needs no
//! hash when the master tells of what content each piece is (ours does, see
//! `saltern_fileserver::Whole`): the master then reads the file once, not twice. Without that, or
//! when the content changed meanwhile, the hash decides in the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use saltern_crypto::{HashType, Hasher};
use saltern_value::{Map, Value};

use super::client::{FileClient, Url, hash_of, make_private_dirs};
use super::window::{self, Chunk, Whole};
use crate::bind::to_text;
use crate::error::Error;
use crate::exec::file::os_error;
use crate::host::Host;

/// A served chunk that unpacks to more than this is not one a master made.
const MAX_CHUNK: u64 = 512 << 20;
/// A file that is changed while it is fetched is fetched so many times.
const TRIES: usize = 2;

/// The hash a master names.
struct Hash {
    kind: HashType,
    hex: String,
}

/// What is fetched.
struct Source<'a> {
    host: &'a dyn Host,
    path: &'a str,
    env: &'a str,
    gzip: Option<i64>,
}

/// A download that is not in its place yet; gone with this value unless it is kept.
struct Download<'a> {
    beside: PathBuf,
    place: &'a Path,
    file: File,
}

/// What became of a file that was to be fetched.
#[derive(Debug)]
pub(super) enum Fetched {
    There(PathBuf),
    /// The master has no such file.
    NoFile,
    /// The directory it is to go to is missing, and not to be made.
    NoDirectory,
}

impl Fetched {
    pub(super) fn path(self) -> Option<PathBuf> {
        match self {
            Fetched::There(path) => Some(path),
            Fetched::NoFile | Fetched::NoDirectory => None,
        }
    }
}

impl FileClient<'_> {
    /// Fetches a file to `dest`, or into the cache.
    pub(super) fn fetch(
        &self,
        url: &Url,
        dest: Option<&str>,
        makedirs: bool,
        gzip: Option<i64>,
    ) -> Result<Fetched, Error> {
        let Url::Salt { path, env } = url else {
            return Err(Error::exec("only files of salt:// can be fetched"));
        };
        let source = Source { host: self.ctx.host(), path, env, gzip };
        let place = match dest {
            Some(dest) => destination(dest, path),
            None => match self.cache_place(env, path) {
                Ok(place) => place,
                // No master has a file of that name; one that says it has is not believed.
                Err(refused) => {
                    let there = self.announced(&source)?.is_some();
                    return if there { Err(refused) } else { Ok(Fetched::NoFile) };
                }
            },
        };
        if place.is_file() {
            let Some(hash) = self.announced(&source)? else { return Ok(Fetched::NoFile) };
            if hash_of(&place, hash.kind).is_ok_and(|own| own == hash.hex) {
                return Ok(Fetched::There(place));
            }
        }
        for _ in 0..TRIES {
            let Some(first) = source.first()? else {
                log::debug!("Could not find file '{path}' in saltenv '{env}'");
                return Ok(Fetched::NoFile);
            };
            if !directory(&place, dest.is_some(), makedirs)? {
                return Ok(Fetched::NoDirectory);
            }
            let mode = if dest.is_none() { 0o600 } else { 0o666 };
            if self.download(&source, first, Download::new(&place, mode)?)? {
                return Ok(Fetched::There(place));
            }
        }
        Err(Error::exec(format!("the file '{path}' did not arrive as the master announced it")))
    }

    /// What the master says of the content; `None` when there is no such file.
    fn announced(&self, source: &Source<'_>) -> Result<Option<Hash>, Error> {
        let (path, env) = (source.path, source.env);
        let hash = self.about("_file_hash", path, env)?;
        let Some(hex) = hash.get("hsum").and_then(Value::as_str) else { return Ok(None) };
        let kind = hash.get("hash_type").and_then(Value::as_str).and_then(HashType::parse);
        let kind =
            kind.ok_or_else(|| Error::exec(format!("the master names no known hash of '{path}'")))?;
        Ok(Some(Hash { kind, hex: hex.to_owned() }))
    }

    /// Downloads beside the place and renames when the content is right: the place has the whole
    /// file or none. Whether it was right.
    fn download(
        &self,
        source: &Source<'_>,
        first: Chunk,
        mut to: Download<'_>,
    ) -> Result<bool, Error> {
        let job = self.ctx.job();
        let kind = self.hash_type();
        let mut proof = Proof::new(first.whole.as_ref(), kind);
        let ask = |at| source.chunk(at).map(|(chunk, _)| chunk);
        window::chunks(first, ask, |chunk| {
            proof.add(chunk);
            to.file.write_all(&chunk.data)?;
            match job.ended_by() {
                Some(_) => Err(Error::exec("the job was ended")),
                None => Ok(()),
            }
        })?;
        if !proof.is_whole() {
            let Some(hash) = self.announced(source)? else { return Ok(false) };
            let own = match proof.into_hash() {
                Some(own) if hash.kind == kind => own,
                _ => hash_of(&to.beside, hash.kind)?,
            };
            if own != hash.hex {
                return Ok(false);
            }
        }
        to.keep()?;
        Ok(true)
    }
}

/// What shows that the pieces make up one content.
enum Proof {
    /// They are all of this one; so many bytes are there.
    Version { whole: Whole, bytes: u64 },
    /// Only the hash can tell; computed on the way.
    Hash(Hasher),
    /// Only the hash can tell, and it was not computed from the start.
    None,
}

impl Proof {
    fn new(whole: Option<&Whole>, kind: HashType) -> Self {
        match whole {
            Some(whole) => Proof::Version { whole: whole.clone(), bytes: 0 },
            None => Proof::Hash(kind.hasher()),
        }
    }

    fn add(&mut self, chunk: &Chunk) {
        match self {
            Proof::Version { whole, bytes } if chunk.whole.as_ref() == Some(whole) => {
                *bytes += chunk.data.len() as u64;
            }
            Proof::Version { .. } => *self = Proof::None,
            Proof::Hash(hasher) => hasher.update(&chunk.data),
            Proof::None => {}
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self, Proof::Version { whole, bytes } if *bytes == whole.size)
    }

    fn into_hash(self) -> Option<String> {
        match self {
            Proof::Hash(hasher) => Some(hasher.finish_hex()),
            Proof::Version { .. } | Proof::None => None,
        }
    }
}

impl Source<'_> {
    /// The first chunk; `None` when there is no such file.
    fn first(&self) -> Result<Option<Chunk>, Error> {
        let (chunk, name) = self.chunk(0)?;
        // Salt's master names a file that it has, and an empty one has no other sign.
        Ok((!chunk.data.is_empty() || !name.is_empty()).then_some(chunk))
    }

    /// One chunk from byte `at` on, empty behind the end, and the name the master gives the file.
    fn chunk(&self, at: u64) -> Result<(Chunk, String), Error> {
        let mut load = Map::from([
            ("cmd", Value::from("_serve_file")),
            ("path", Value::from(self.path)),
            ("saltenv", Value::from(self.env)),
            ("loc", Value::from(at)),
            ("whole", Value::from(true)),
        ]);
        if let Some(level) = self.gzip.filter(|level| *level > 0) {
            load.insert("gzip", level);
        }
        let mut answer = self.host.request(load, None)?;
        // Taken out of the answer: a copy of each piece is as much work as writing it.
        let data = match &mut answer {
            Value::Map(reply) => reply.remove("data"),
            _ => None,
        };
        let data = match data {
            Some(Value::Bytes(data)) => data,
            Some(Value::Str(text)) => text.into_bytes(),
            _ => {
                let (path, words) = (self.path, to_text(&answer));
                return Err(Error::exec(format!("the master does not serve '{path}': {words}")));
            }
        };
        let packed = answer.get("gzip").is_some_and(Value::truthy) && !data.is_empty();
        let data = if packed { unpack(&data)? } else { data };
        let name = answer.get("dest").map(to_text).unwrap_or_default();
        Ok((Chunk { data, whole: whole(&answer) }, name))
    }
}

fn whole(answer: &Value) -> Option<Whole> {
    let version = answer.get("version").and_then(Value::as_str)?.to_owned();
    let size = answer.get("size").and_then(Value::as_int)?;
    Some(Whole { version, size: u64::try_from(size).ok()? })
}

impl<'a> Download<'a> {
    fn new(place: &'a Path, mode: u32) -> Result<Self, Error> {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(12).collect();
        let beside = place.with_file_name(format!(".{random}.tmp"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)
            .map_err(|e| os_error(&e, place))?;
        Ok(Download { beside, place, file })
    }

    /// Takes the place; a file that is replaced keeps its mode.
    fn keep(self) -> io::Result<()> {
        if let Ok(old) = fs::metadata(self.place) {
            self.file.set_permissions(old.permissions())?;
        }
        fs::rename(&self.beside, self.place)
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        // Already gone when it was kept.
        drop(fs::remove_file(&self.beside));
    }
}

/// Makes the directory of a place; whether it is there.
fn directory(place: &Path, asked_for: bool, makedirs: bool) -> Result<bool, Error> {
    if !asked_for {
        make_private_dirs(place)?;
    } else if let Some(dir) = place.parent().filter(|dir| !dir.is_dir()) {
        if !makedirs {
            return Ok(false);
        }
        fs::create_dir_all(dir).map_err(|e| os_error(&e, dir))?;
    }
    Ok(true)
}

/// Unpacks gzip data, up to a limit.
pub(super) fn unpack(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(data).take(MAX_CHUNK + 1).read_to_end(&mut out)?;
    if out.len() as u64 > MAX_CHUNK {
        return Err(io::Error::other("the packed data is too large"));
    }
    Ok(out)
}

/// Where a file goes: below `dest` when that is a directory.
fn destination(dest: &str, path: &str) -> PathBuf {
    let name = path.rsplit('/').next().unwrap_or(path);
    if dest.ends_with('/') || Path::new(dest).is_dir() {
        Path::new(dest).join(name)
    } else {
        PathBuf::from(dest)
    }
}
