//! What the file system knows of files.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use saltern_crypto::HashType;
use saltern_value::{Map, Value};

use super::{hash_type, map_of, os_error, path_arg};
use crate::bind::{Bound, to_int};
use crate::context::Context;
use crate::error::Error;
use crate::users;

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What `stats` works on: the file, or a link itself when it leads nowhere or is not followed.
fn metadata(args: &Bound) -> Result<Metadata, Error> {
    let path = path_arg(args, "path");
    let follow = args.truthy("follow_symlinks") || !args.has("follow_symlinks");
    let followed = if follow { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
    followed
        .or_else(|_| fs::symlink_metadata(&path))
        .map_err(|_| Error::exec(format!("Path not found: {}", path.display())))
}

/// Seconds with fraction, as Python's `st_mtime`.
pub(super) fn seconds(whole: i64, nanos: i64) -> Value {
    Value::Float(whole as f64 + nanos as f64 * 1e-9)
}

fn mode_text(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

pub(super) fn kind(meta: &Metadata) -> &'static str {
    let file_type = meta.file_type();
    match () {
        () if file_type.is_dir() => "dir",
        () if file_type.is_symlink() => "link",
        () if file_type.is_char_device() => "char",
        () if file_type.is_block_device() => "block",
        () if file_type.is_fifo() => "pipe",
        () if file_type.is_socket() => "socket",
        () => "file",
    }
}

pub(super) fn user_name(uid: u32) -> Value {
    users::user_of(uid).map_or(Value::from(uid), |u| Value::from(u.name))
}

pub(super) fn group_name(gid: u32) -> Value {
    users::group_of(gid).map_or(Value::from(gid), |g| Value::from(g.name))
}

pub(super) fn stats(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    let meta = metadata(&args)?;
    let mut found = Map::from([
        ("inode", Value::from(meta.ino())),
        ("uid", Value::from(meta.uid())),
        ("gid", Value::from(meta.gid())),
        ("group", group_name(meta.gid())),
        ("user", user_name(meta.uid())),
        ("atime", seconds(meta.atime(), meta.atime_nsec())),
        ("mtime", seconds(meta.mtime(), meta.mtime_nsec())),
        ("ctime", seconds(meta.ctime(), meta.ctime_nsec())),
        ("size", Value::from(meta.size())),
        ("mode", Value::from(mode_text(meta.mode()))),
    ]);
    if let Some(name) = args.opt_text("hash_type") {
        found.insert("sum", hash(&path, hash_type(&name)?)?);
    }
    found.insert("type", kind(&meta));
    found.insert("target", text(&fs::canonicalize(&path).unwrap_or(path)));
    Ok(Value::Map(found))
}

pub(super) fn lstat(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    if !path.is_absolute() {
        return Err(Error::invalid("Path to file must be absolute."));
    }
    let Ok(meta) = fs::symlink_metadata(&path) else { return Ok(Value::Map(Map::new())) };
    Ok(map_of([
        ("st_atime", seconds(meta.atime(), meta.atime_nsec())),
        ("st_ctime", seconds(meta.ctime(), meta.ctime_nsec())),
        ("st_gid", meta.gid().into()),
        ("st_mode", meta.mode().into()),
        ("st_mtime", seconds(meta.mtime(), meta.mtime_nsec())),
        ("st_nlink", meta.nlink().into()),
        ("st_size", meta.size().into()),
        ("st_uid", meta.uid().into()),
    ]))
}

pub(super) fn get_mode(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::from(mode_text(metadata(&args)?.mode())))
}

pub(super) fn get_uid(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(metadata(&args)?.uid().into())
}

pub(super) fn get_gid(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(metadata(&args)?.gid().into())
}

pub(super) fn get_user(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(user_name(metadata(&args)?.uid()))
}

pub(super) fn get_group(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(group_name(metadata(&args)?.gid()))
}

/// The number behind a name, or the number itself; `None` when there is no such user.
pub(super) fn uid_of(user: &Value) -> Option<u32> {
    match user {
        Value::Nil => Some(rustix::process::geteuid().as_raw()),
        Value::Str(name) if name.is_empty() => Some(rustix::process::geteuid().as_raw()),
        Value::Str(name) => users::user(name).map(|u| u.uid).or_else(|| name.parse().ok()),
        other => to_int(other).and_then(|i| u32::try_from(i).ok()),
    }
}

/// As [`uid_of`], for groups.
pub(super) fn gid_of(group: &Value) -> Option<u32> {
    match group {
        Value::Nil => None,
        Value::Str(name) => users::group(name).map(|g| g.gid).or_else(|| name.parse().ok()),
        other => to_int(other).and_then(|i| u32::try_from(i).ok()),
    }
}

fn or_empty(value: Option<u32>) -> Value {
    value.map_or_else(|| Value::from(""), Value::from)
}

pub(super) fn user_to_uid(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(or_empty(uid_of(args.get("user"))))
}

pub(super) fn group_to_gid(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(or_empty(gid_of(args.get("group"))))
}

pub(super) fn uid_to_user(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let uid = u32::try_from(args.int("uid")?).ok();
    Ok(uid.map_or_else(|| Value::from(""), user_name))
}

pub(super) fn gid_to_group(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let gid = u32::try_from(args.int("gid")?).ok();
    Ok(gid.map_or_else(|| Value::from(""), group_name))
}

fn hash(path: &Path, kind: HashType) -> Result<String, Error> {
    let file = File::open(path).map_err(|e| os_error(&e, path))?;
    kind.hex_digest_of(file).map_err(|e| os_error(&e, path))
}

pub(super) fn get_hash(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(hash(&path_arg(&args, "path"), hash_type(&args.text("form"))?)?.into())
}

pub(super) fn get_sum(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    if !path.is_file() {
        return Ok(Value::from("File not found"));
    }
    Ok(hash(&path, hash_type(&args.text("form"))?)?.into())
}

pub(super) fn check_hash(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let given = args.text("file_hash");
    let (kind, digits) = match given.split_once([':', '=']) {
        Some((name, digits)) => (hash_type(name)?, digits),
        None => {
            let kind = HashType::of_hex_len(given.len()).ok_or_else(|| {
                Error::invalid(format!(
                    "Hash {given} (length: {}) could not be matched to a supported \
                     hash type. The supported hash types and lengths are: md5 (32), sha1 (40), \
                     sha224 (56), sha256 (64), sha384 (96), sha512 (128)",
                    given.len()
                ))
            })?;
            (kind, given.as_str())
        }
    };
    Ok(Value::Bool(hash(&path_arg(&args, "path"), kind)?.eq_ignore_ascii_case(digits)))
}

pub(super) fn file_exists(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(path_arg(&args, "path").is_file()))
}

pub(super) fn directory_exists(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(path_arg(&args, "path").is_dir()))
}

fn is_kind(args: &Bound, wanted: &str) -> Value {
    let path = path_arg(args, "name");
    Value::Bool(fs::metadata(path).is_ok_and(|meta| kind(&meta) == wanted))
}

pub(super) fn is_blkdev(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(is_kind(&args, "block"))
}

pub(super) fn is_chrdev(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(is_kind(&args, "char"))
}

pub(super) fn is_fifo(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(is_kind(&args, "pipe"))
}

pub(super) fn is_link(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(path_arg(&args, "path").is_symlink()))
}

pub(super) fn readlink(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    if !path.is_absolute() {
        return Err(Error::invalid(format!("Path to link must be absolute: {}", path.display())));
    }
    if !path.is_symlink() {
        return Err(Error::invalid(format!("A valid link was not specified: {}", path.display())));
    }
    let target =
        if args.truthy("canonicalize") { fs::canonicalize(&path) } else { fs::read_link(&path) };
    Ok(Value::from(text(&target.map_err(|e| os_error(&e, &path))?)))
}

pub(super) fn readdir(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    if !path.is_absolute() {
        return Err(Error::invalid("Dir path must be absolute."));
    }
    if !path.is_dir() {
        return Err(Error::invalid("A valid directory was not specified."));
    }
    let entries = fs::read_dir(&path).map_err(|e| os_error(&e, &path))?;
    let names =
        entries.flatten().map(|e| Value::from(e.file_name().to_string_lossy().into_owned()));
    Ok(Value::List([".", ".."].map(Value::from).into_iter().chain(names).collect()))
}

pub(super) fn access(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    use rustix::fs::Access;
    let path = path_arg(&args, "path");
    if !path.is_absolute() {
        return Err(Error::invalid("Path to link must be absolute."));
    }
    let mode = match args.text("mode").as_str() {
        "f" | "0" => Access::EXISTS,
        "r" | "4" => Access::READ_OK,
        "w" | "2" => Access::WRITE_OK,
        "x" | "1" => Access::EXEC_OK,
        _ => return Err(Error::invalid("Invalid mode specified.")),
    };
    Ok(Value::Bool(rustix::fs::access(&path, mode).is_ok()))
}

pub(super) fn diskusage(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (mut total, mut todo) = (0u64, vec![path_arg(&args, "path")]);
    // Each file counts once, however many names it has.
    let mut seen = std::collections::HashSet::new();
    while let Some(path) = todo.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        } else if seen.insert((meta.dev(), meta.ino())) {
            total += meta.size();
        }
    }
    Ok(total.into())
}
