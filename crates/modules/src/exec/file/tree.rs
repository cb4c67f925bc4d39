//! Making, moving and removing files, directories and links; owners, modes and times.

use std::fs;
use std::io;
use std::os::unix::fs::{
    PermissionsExt, chown as set_owner, lchown as set_link_owner, symlink as make_link,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use saltern_value::Value;

use super::info::{gid_of, uid_of};
use super::paths::{dir_of, normalized};
use super::{errno_text, map_of, os_error, path_arg, strerror};
use crate::bind::{Bound, to_int, to_text};
use crate::context::Context;
use crate::error::Error;

fn absolute(path: &Path, what: &str) -> Result<(), Error> {
    if path.is_absolute() { Ok(()) } else { Err(Error::invalid(what)) }
}

/// A mode in octal digits; a number is read by its decimal digits, as Salt does.
fn parse_mode(mode: &Value) -> Option<u32> {
    let text = to_text(mode);
    let digits = text.trim_start_matches(['0', 'O', 'o']);
    if digits.is_empty() {
        return Some(0);
    }
    u32::from_str_radix(digits, 8).ok().filter(|m| *m <= 0o7777)
}

/// Sets owner and mode of what was just made.
fn set_permissions(path: &Path, args: &Bound) -> Result<(), Error> {
    let (user, group) = (args.get("user"), args.get("group"));
    let uid = match user.truthy() {
        true => Some(
            uid_of(user)
                .ok_or_else(|| Error::exec(format!("User '{}' is not available", to_text(user))))?,
        ),
        false => None,
    };
    let gid =
        match group.truthy() {
            true => Some(gid_of(group).ok_or_else(|| {
                Error::exec(format!("Group '{}' is not available", to_text(group)))
            })?),
            false => None,
        };
    if uid.is_some() || gid.is_some() {
        set_owner(path, uid, gid).map_err(|e| os_error(&e, path))?;
    }
    if args.get("mode").truthy() {
        let mode = parse_mode(args.get("mode"))
            .ok_or_else(|| Error::invalid(format!("'{}' is no file mode", args.text("mode"))))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| os_error(&e, path))?;
    }
    Ok(())
}

/// Makes a directory and those above it that are missing, each with the owner and mode asked for.
fn make_dirs(path: &Path, args: &Bound) -> Result<(), Error> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Ok(()) => set_permissions(dir, args)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(e) => return Err(os_error(&e, dir)),
        }
    }
    Ok(())
}

pub(super) fn mkdir(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = PathBuf::from(normalized(&path_arg(&args, "dir_path").to_string_lossy()));
    if !path.is_dir() {
        if path.exists() {
            return Err(os_error(&io::ErrorKind::AlreadyExists.into(), &path));
        }
        make_dirs(&path, &args)?;
    }
    Ok(Value::Bool(true))
}

pub(super) fn makedirs(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    let dir = PathBuf::from(normalized(dir_of(&path.to_string_lossy())));
    if dir.is_dir() {
        return Ok(Value::from(format!("Directory '{}' already exists", dir.display())));
    }
    if dir.exists() {
        return Ok(Value::from(format!(
            "The path '{}' already exists and is not a directory",
            dir.display()
        )));
    }
    absolute(&dir, "the path must be absolute")?;
    make_dirs(&dir, &args)?;
    Ok(Value::Nil)
}

pub(super) fn makedirs_perms(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "name");
    if path.exists() {
        return Err(Error::Exception(format!(
            "FileExistsError: [Errno 17] File exists: '{}'",
            path.display()
        )));
    }
    make_dirs(&path, &args)?;
    Ok(Value::Nil)
}

pub(super) fn touch(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "name");
    let time = |name: &str| -> Result<Option<SystemTime>, Error> {
        match args.get(name) {
            Value::Nil => Ok(None),
            value => {
                let seconds = value.as_f64().or_else(|| to_int(value).map(|i| i as f64));
                let time = seconds
                    .and_then(|s| Duration::try_from_secs_f64(s).ok())
                    .map(|since| SystemTime::UNIX_EPOCH + since);
                match time {
                    Some(time) => Ok(Some(time)),
                    None => Err(Error::invalid("atime and mtime must be integers")),
                }
            }
        }
    };
    let now = SystemTime::now();
    let times = fs::FileTimes::new()
        .set_accessed(time("atime")?.unwrap_or(now))
        .set_modified(time("mtime")?.unwrap_or(now));
    // A directory cannot be opened for writing, but its times can be set all the same.
    let open = || -> io::Result<fs::File> {
        if path.is_dir() {
            fs::File::open(&path)
        } else {
            fs::OpenOptions::new().append(true).create(true).open(&path)
        }
    };
    open().and_then(|file| file.set_times(times)).map_err(|e| Error::exec(strerror(&e)))?;
    Ok(Value::Bool(path.exists()))
}

pub(super) fn remove(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    absolute(&path, &format!("File path must be absolute: {}", path.display()))?;
    let Ok(meta) = fs::symlink_metadata(&path) else { return Ok(Value::Bool(false)) };
    let removed = if meta.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    removed.map_err(|e| {
        Error::exec(format!("Could not remove '{}': {}", path.display(), errno_text(&e)))
    })?;
    Ok(Value::Bool(true))
}

pub(super) fn rmdir(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    absolute(&path, "File path must be absolute.")?;
    if !path.is_dir() {
        return Err(Error::invalid("A valid directory was not specified."));
    }
    let removed = fs::remove_dir(&path);
    if let Err(error) = &removed {
        log::error!("{} cannot be removed: {error}", path.display());
    }
    Ok(Value::Bool(removed.is_ok()))
}

pub(super) fn copy(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (src, dst) = (path_arg(&args, "src"), path_arg(&args, "dst"));
    absolute(&src, "File path must be absolute.")?;
    if !src.exists() {
        return Err(Error::exec(format!("No such file or directory '{}'", src.display())));
    }
    let could_not =
        |_| Error::exec(format!("Could not copy '{}' to '{}'", src.display(), dst.display()));
    if dst.is_dir() || src.is_dir() {
        if !args.truthy("recurse") {
            return Err(Error::invalid(
                "Cannot copy overwriting a directory without recurse flag set to true!",
            ));
        }
        if dst.starts_with(&src) {
            return Err(Error::invalid("a directory cannot be copied into itself"));
        }
        if args.truthy("remove_existing") && dst.is_dir() {
            fs::remove_dir_all(&dst).map_err(could_not)?;
        }
        copy_tree(&src, &dst).map_err(could_not)?;
    } else {
        copy_file(&src, &dst).map_err(could_not)?;
    }
    Ok(Value::Bool(true))
}

/// Copies a file with its mode, and its owner where we may set one.
fn copy_file(src: &Path, dst: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(src)?;
    fs::copy(src, dst)?;
    if rustix::process::geteuid().is_root() {
        set_owner(dst, Some(meta.uid()), Some(meta.gid()))?;
        // Giving a file away clears some bits of its mode.
        fs::set_permissions(dst, meta.permissions())?;
    }
    Ok(())
}

fn copy_tree(src: &Path, dst: &Path) -> io::Result<()> {
    if !src.is_dir() {
        return copy_file(src, dst);
    }
    fs::create_dir_all(dst)?;
    for entry in fs::read_dir(src)? {
        let entry = entry?;
        let (from, to) = (entry.path(), dst.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&from, &to)?;
        } else if kind.is_symlink() {
            make_link(fs::read_link(&from)?, &to)?;
        } else {
            copy_file(&from, &to)?;
        }
    }
    fs::set_permissions(dst, fs::metadata(src)?.permissions())
}

pub(super) fn rename(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (src, dst) = (path_arg(&args, "src"), path_arg(&args, "dst"));
    absolute(&src, "File path must be absolute.")?;
    fs::rename(&src, &dst).map_err(|_| {
        Error::exec(format!("Could not rename '{}' to '{}'", src.display(), dst.display()))
    })?;
    Ok(Value::Bool(true))
}

pub(super) fn move_(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    if args.truthy("disallow_copy_and_unlink") {
        return rename(ctx, args);
    }
    let (src, mut dst) = (path_arg(&args, "src"), path_arg(&args, "dst"));
    absolute(&src, "Source path must be absolute.")?;
    absolute(&dst, "Destination path must be absolute.")?;
    let shown = dst.clone();
    if let Some(name) = src.file_name().filter(|_| dst.is_dir()) {
        dst = dst.join(name);
    }
    let moved = match fs::rename(&src, &dst) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            copy_tree(&src, &dst).and_then(|()| {
                if src.is_dir() { fs::remove_dir_all(&src) } else { fs::remove_file(&src) }
            })
        }
        other => other,
    };
    moved.map_err(|e| {
        Error::exec(format!(
            "Unable to move '{0}' to '{1}': {2}: '{0}'",
            src.display(),
            shown.display(),
            errno_text(&e)
        ))
    })?;
    Ok(map_of([
        ("result", Value::Bool(true)),
        ("comment", Value::from(format!("'{}' moved to '{}'", src.display(), shown.display()))),
    ]))
}

pub(super) fn symlink(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (src, path) = (args.text("src"), path_arg(&args, "path"));
    absolute(&path, &format!("Link path must be absolute: {}", path.display()))?;
    let (force, atomic) = (args.truthy("force"), args.truthy("atomic"));
    if let Ok(now) = fs::read_link(&path) {
        if normalized(&now.to_string_lossy()) == normalized(&src) {
            return Ok(Value::Bool(true));
        }
        if !force && !atomic {
            return Err(Error::exec(format!("Found existing symlink: {}", path.display())));
        }
    } else if path.exists() && !force && !atomic {
        return Err(Error::exec(format!("Existing path is not a symlink: {}", path.display())));
    }
    let could_not = |_: io::Error| Error::exec(format!("Could not create '{}'", path.display()));
    if !atomic && !force {
        make_link(&src, &path).map_err(could_not)?;
        return Ok(Value::Bool(true));
    }
    // Whether asked for or not, the change is made at once: there is never no link.
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(12).collect();
    let beside = path.with_file_name(format!(".link-{random}"));
    make_link(&src, &beside).map_err(could_not)?;
    fs::rename(&beside, &path).map_err(|e| {
        drop(fs::remove_file(&beside));
        could_not(e)
    })?;
    Ok(Value::Bool(true))
}

pub(super) fn link(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (src, path) = (path_arg(&args, "src"), path_arg(&args, "path"));
    absolute(&src, "File path must be absolute.")?;
    fs::hard_link(&src, &path).map_err(|e| {
        Error::exec(format!(
            "Could not create '{1}': {2}: '{0}' -> '{1}'",
            src.display(),
            path.display(),
            errno_text(&e)
        ))
    })?;
    Ok(Value::Bool(true))
}

pub(super) fn chown(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    give(&args, true)
}

pub(super) fn lchown(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    give(&args, false)
}

/// Changes owners. What is wrong comes back as text, and success as `None`, as in Salt.
fn give(args: &Bound, follow: bool) -> Result<Value, Error> {
    let path = path_arg(args, "path");
    let (user, group) = (args.get("user"), args.get("group"));
    let mut wrong = String::new();
    let (mut uid, mut gid) = (None, None);
    if user.truthy() || to_int(user).is_some() {
        uid = uid_of(user);
        if uid.is_none() {
            wrong.push_str("User does not exist\n");
        }
    }
    if group.truthy() || to_int(group).is_some() {
        gid = gid_of(group);
        if gid.is_none() {
            wrong.push_str("Group does not exist\n");
        }
    }
    let there = fs::symlink_metadata(&path).is_ok();
    if !there {
        wrong.push_str("File not found");
    }
    if !wrong.is_empty() {
        return Ok(Value::from(wrong));
    }
    let changed = if follow && path.exists() {
        set_owner(&path, uid, gid)
    } else {
        set_link_owner(&path, uid, gid)
    };
    changed.map_err(|e| os_error(&e, &path))?;
    Ok(Value::Nil)
}

pub(super) fn chgrp(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    give(&args, true)
}

pub(super) fn set_mode(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    let mode = args.text("mode");
    if !path.exists() {
        return Err(Error::exec(format!("{}: File not found", path.display())));
    }
    let digits = mode.trim_start_matches(['0', 'O', 'o']);
    let invalid =
        Value::from(format!("Invalid Mode {}", if digits.is_empty() { "0" } else { digits }));
    let Some(bits) = parse_mode(args.get("mode")) else { return Ok(invalid) };
    if fs::set_permissions(&path, fs::Permissions::from_mode(bits)).is_err() {
        return Ok(invalid);
    }
    Ok(Value::from(format!("{bits:04o}")))
}
