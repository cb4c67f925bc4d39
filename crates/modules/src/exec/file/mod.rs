//! `file`: look at files and change them, with the rights of the minion.

mod content;
mod diff;
mod find;
mod info;
mod paths;
mod replace;
mod tree;

use std::io;
use std::path::PathBuf;

use saltern_crypto::HashType;
use saltern_value::{Map, Value};

use crate::bind::Bound;
use crate::error::Error;
use crate::registry::{Function, Module};
use crate::users;

const REPLACE: &str = "path, pattern, repl, count=0, flags=8, bufsize=1, \
    append_if_not_found=False, prepend_if_not_found=False, not_found_content=None, \
    backup='.bak', dry_run=False, search_only=False, show_changes=True, \
    ignore_if_missing=False, preserve_inode=True, backslash_literal=False";

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "file",
    doc: "Look at files and change them.",
    functions: &[
        Function::new(
            "access",
            "path, mode",
            info::access,
            "Whether the minion may access a path: f (is there), r, w or x.",
            "file.access /etc/hosts r",
        ),
        Function::new(
            "append",
            "path, *args, **kwargs",
            content::append,
            "Appends lines to a file.",
            "file.append /etc/motd 'first line' 'second line'",
        ),
        Function::new(
            "basename",
            "path",
            paths::basename,
            "The last part of a path.",
            "file.basename /a/b",
        ),
        Function::new(
            "check_hash",
            "path, file_hash",
            info::check_hash,
            "Whether a file has that hash, given as digits or type:digits.",
            "file.check_hash /etc/hosts md5:d41d8cd98f00b204e9800998ecf8427e",
        ),
        Function::new(
            "chgrp",
            "path, group",
            tree::chgrp,
            "Gives a file to a group.",
            "file.chgrp /srv/x www-data",
        ),
        Function::new(
            "chown",
            "path, user, group",
            tree::chown,
            "Gives a file to a user and a group.",
            "file.chown /srv/x root root",
        ),
        Function::new(
            "comment",
            "path, regex, char='#', backup='.bak'",
            replace::comment,
            "Puts a character in front of the lines that match.",
            "file.comment /etc/modules pcspkr",
        ),
        Function::new(
            "comment_line",
            "path, regex, char='#', cmnt=True, backup='.bak'",
            replace::comment_line,
            "Comments or uncomments the lines that match.",
            "file.comment_line /etc/modules pcspkr '#' cmnt=False",
        ),
        Function::new(
            "contains",
            "path, text",
            content::contains,
            "Whether a file contains a text.",
            "file.contains /etc/hosts localhost",
        ),
        Function::new(
            "contains_glob",
            "path, glob_expr",
            content::contains_glob,
            "Whether the text of a file matches a shell pattern.",
            "file.contains_glob /etc/hosts '*local*'",
        ),
        Function::new(
            "contains_regex",
            "path, regex, lchar=''",
            content::contains_regex,
            "Whether a line of a file matches; lchar is stripped from its front first.",
            "file.contains_regex /etc/hosts '^127'",
        ),
        Function::new(
            "copy",
            "src, dst, recurse=False, remove_existing=False",
            tree::copy,
            "Copies a file, or a directory when recurse is set.",
            "file.copy /etc/hosts /tmp/hosts",
        ),
        Function::new(
            "directory_exists",
            "path",
            info::directory_exists,
            "Whether a path is a directory.",
            "file.directory_exists /etc",
        ),
        Function::new(
            "dirname",
            "path",
            paths::dirname,
            "A path without its last part.",
            "file.dirname /a/b",
        ),
        Function::new(
            "diskusage",
            "path",
            info::diskusage,
            "The size in bytes of all files below a path.",
            "file.diskusage /var/log",
        ),
        Function::new(
            "file_exists",
            "path",
            info::file_exists,
            "Whether a path is a file.",
            "file.file_exists /etc/hosts",
        ),
        Function::new(
            "find",
            "path, *args, **kwargs",
            find::find,
            "Finds files below a path by name, iname, regex, iregex, type, owner, group, size, mtime, grep, mindepth and maxdepth; print chooses what is listed, delete removes what is found.",
            "file.find /var/log type=f name='*.log' size=+10m mtime=-30d print=path,size",
        ),
        Function::new(
            "get_gid",
            "path, follow_symlinks=True",
            info::get_gid,
            "The number of the group of a file.",
            "file.get_gid /etc/hosts",
        ),
        Function::new(
            "get_group",
            "path, follow_symlinks=True",
            info::get_group,
            "The group of a file.",
            "file.get_group /etc/hosts",
        ),
        Function::new(
            "get_hash",
            "path, form='sha256', chunk_size=65536",
            info::get_hash,
            "The hash of a file.",
            "file.get_hash /etc/hosts md5",
        ),
        Function::new(
            "get_mode",
            "path, follow_symlinks=True",
            info::get_mode,
            "The mode of a file, four octal digits.",
            "file.get_mode /etc/hosts",
        ),
        Function::new(
            "get_sum",
            "path, form='sha256'",
            info::get_sum,
            "The hash of a file, or a text when there is none.",
            "file.get_sum /etc/hosts sha512",
        ),
        Function::new(
            "get_uid",
            "path, follow_symlinks=True",
            info::get_uid,
            "The number of the user of a file.",
            "file.get_uid /etc/hosts",
        ),
        Function::new(
            "get_user",
            "path, follow_symlinks=True",
            info::get_user,
            "The user of a file.",
            "file.get_user /etc/hosts",
        ),
        Function::new(
            "gid_to_group",
            "gid",
            info::gid_to_group,
            "The name of a group.",
            "file.gid_to_group 0",
        ),
        Function::new(
            "grep",
            "path, pattern, *opts",
            content::grep,
            "Runs grep on a file; returns pid, retcode, stdout and stderr.",
            "file.grep /etc/passwd nobody -i",
        ),
        Function::new(
            "group_to_gid",
            "group",
            info::group_to_gid,
            "The number of a group.",
            "file.group_to_gid root",
        ),
        Function::new(
            "is_blkdev",
            "name",
            info::is_blkdev,
            "Whether a path is a block device.",
            "file.is_blkdev /dev/sda",
        ),
        Function::new(
            "is_chrdev",
            "name",
            info::is_chrdev,
            "Whether a path is a character device.",
            "file.is_chrdev /dev/null",
        ),
        Function::new(
            "is_fifo",
            "name",
            info::is_fifo,
            "Whether a path is a pipe.",
            "file.is_fifo /run/initctl",
        ),
        Function::new(
            "is_link",
            "path",
            info::is_link,
            "Whether a path is a symbolic link.",
            "file.is_link /etc/localtime",
        ),
        Function::new(
            "join",
            "*args",
            paths::join,
            "Joins parts of a path.",
            "file.join / usr local",
        ),
        Function::new(
            "lchown",
            "path, user, group",
            tree::lchown,
            "Gives a file to a user and a group; a link itself, not what it leads to.",
            "file.lchown /srv/link root root",
        ),
        Function::new(
            "link",
            "src, path",
            tree::link,
            "Makes a hard link at path to src.",
            "file.link /srv/a /srv/b",
        ),
        Function::new(
            "lstat",
            "path",
            info::lstat,
            "What lstat says of a path; empty when it is not there.",
            "file.lstat /etc/localtime",
        ),
        Function::new(
            "makedirs",
            "path, user=None, group=None, mode=None",
            tree::makedirs,
            "Makes all directories above the last slash of a path.",
            "file.makedirs /opt/code/",
        ),
        Function::new(
            "makedirs_perms",
            "name, user=None, group=None, mode='0755'",
            tree::makedirs_perms,
            "Makes a directory and those above it, with owner and mode.",
            "file.makedirs_perms /opt/code",
        ),
        Function::new(
            "mkdir",
            "dir_path, user=None, group=None, mode=None",
            tree::mkdir,
            "Makes a directory and those above it.",
            "file.mkdir /opt/code",
        ),
        Function::new(
            "move",
            "src, dst, disallow_copy_and_unlink=False",
            tree::move_,
            "Moves a file or directory, also to another file system.",
            "file.move /tmp/a /srv/a",
        ),
        Function::new(
            "normpath",
            "path",
            paths::normpath,
            "A path without double slashes, dots and steps back.",
            "file.normpath /a/b/../c",
        ),
        Function::new(
            "path_exists_glob",
            "path",
            find::path_exists_glob,
            "Whether anything matches a shell pattern.",
            "file.path_exists_glob '/etc/pam*/pass*'",
        ),
        Function::new(
            "prepend",
            "path, *args, **kwargs",
            content::prepend,
            "Puts lines in front of a file.",
            "file.prepend /etc/motd 'first line'",
        ),
        Function::new(
            "read",
            "path, binary=False",
            content::read,
            "The content of a file.",
            "file.read /etc/hosts",
        ),
        Function::new(
            "readdir",
            "path",
            info::readdir,
            "The names in a directory.",
            "file.readdir /etc",
        ),
        Function::new(
            "readlink",
            "path, canonicalize=False",
            info::readlink,
            "Where a link leads.",
            "file.readlink /etc/localtime",
        ),
        Function::new(
            "remove",
            "path, **kwargs",
            tree::remove,
            "Removes a file, or a directory with all that is in it.",
            "file.remove /tmp/x",
        ),
        Function::new(
            "rename",
            "src, dst",
            tree::rename,
            "Renames a file or directory.",
            "file.rename /srv/a /srv/b",
        ),
        Function::new(
            "replace",
            REPLACE,
            replace::replace,
            "Replaces what matches a regular expression and returns the difference. count limits the number; append_if_not_found and prepend_if_not_found add a line instead; backup is the extension of the copy that is kept, or False; dry_run changes nothing; search_only only tells whether there is a match.",
            "file.replace /etc/hosts '^127.0.0.1.*$' '127.0.0.1 localhost'",
        ),
        Function::new(
            "rmdir",
            "path",
            tree::rmdir,
            "Removes an empty directory.",
            "file.rmdir /tmp/x",
        ),
        Function::new(
            "search",
            "path, pattern, flags=8, bufsize=1, ignore_if_missing=False, multiline=False",
            replace::search,
            "Whether a regular expression matches in a file.",
            "file.search /etc/crontab 'MAILTO=.*'",
        ),
        Function::new(
            "set_mode",
            "path, mode",
            tree::set_mode,
            "Sets the mode of a file and returns it.",
            "file.set_mode /etc/motd 0644",
        ),
        Function::new(
            "stats",
            "path, hash_type=None, follow_symlinks=True",
            info::stats,
            "What is known of a path: owner, size, times, mode, type, and a hash when asked.",
            "file.stats /etc/passwd",
        ),
        Function::new(
            "symlink",
            "src, path, force=False, atomic=False",
            tree::symlink,
            "Makes a symbolic link at path to src.",
            "file.symlink /srv/current /srv/release-1",
        ),
        Function::new(
            "touch",
            "name, atime=None, mtime=None",
            tree::touch,
            "Makes a file, or sets its times.",
            "file.touch /srv/stamp",
        ),
        Function::new(
            "truncate",
            "path, length",
            content::truncate,
            "Cuts a file to a length.",
            "file.truncate /tmp/x 512",
        ),
        Function::new(
            "uid_to_user",
            "uid",
            info::uid_to_user,
            "The name of a user.",
            "file.uid_to_user 0",
        ),
        Function::new(
            "uncomment",
            "path, regex, char='#', backup='.bak'",
            replace::uncomment,
            "Removes the comment character from the lines that match.",
            "file.uncomment /etc/hosts.deny 'ALL: PARANOID'",
        ),
        Function::new(
            "user_to_uid",
            "user",
            info::user_to_uid,
            "The number of a user.",
            "file.user_to_uid root",
        ),
        Function::new(
            "write",
            "path, *args, **kwargs",
            content::write,
            "Writes lines to a file, in the place of what was there.",
            "file.write /etc/motd 'first line' 'second line'",
        ),
    ],
};

/// A hash by its name.
pub(crate) fn hash_type(name: &str) -> Result<HashType, Error> {
    HashType::parse(name)
        .ok_or_else(|| Error::Exception(format!("ValueError: Invalid hash type: {name}")))
}

/// The path argument of that name, with `~` and `~user` in front resolved.
fn path_arg(args: &Bound, name: &str) -> PathBuf {
    expand_user(&args.text(name))
}

fn expand_user(path: &str) -> PathBuf {
    let Some(rest) = path.strip_prefix('~') else { return PathBuf::from(path) };
    let (user, below) = rest.split_once('/').map_or((rest, ""), |(u, b)| (u, b));
    let home = if user.is_empty() {
        std::env::var("HOME")
            .ok()
            .or_else(|| users::user_of(rustix::process::geteuid().as_raw()).map(|u| u.home))
    } else {
        users::user(user).map(|u| u.home)
    };
    home.map_or_else(|| PathBuf::from(path), |home| PathBuf::from(home).join(below))
}

/// An error of the system in Python's words: `FileNotFoundError: [Errno 2] No such file ...`.
pub(crate) fn os_error(error: &io::Error, path: &std::path::Path) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => "FileNotFoundError",
        io::ErrorKind::PermissionDenied => "PermissionError",
        io::ErrorKind::AlreadyExists => "FileExistsError",
        io::ErrorKind::IsADirectory => "IsADirectoryError",
        io::ErrorKind::NotADirectory => "NotADirectoryError",
        _ => "OSError",
    };
    Error::Exception(format!("{kind}: {}: '{}'", errno_text(error), path.display()))
}

/// `[Errno 2] No such file or directory`.
fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("[Errno {code}] {}", strerror(error)),
        None => error.to_string(),
    }
}

fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The lines of a call: its arguments, or those in `args=`.
fn lines_of(args: &Bound) -> Vec<String> {
    let lines = match args.kwargs.get("args") {
        Some(Value::List(lines)) => lines.clone(),
        Some(one) => vec![one.clone()],
        None => args.varargs.clone(),
    };
    lines.iter().map(crate::bind::to_text).collect()
}

/// A mapping with text keys.
fn map_of<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(Map::from(members))
}

#[cfg(test)]
mod tests;
