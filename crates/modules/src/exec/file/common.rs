//! What the functions of `file` share: their arguments, and errors in Python's words.

use std::io;
use std::path::PathBuf;

use saltern_crypto::HashType;
use saltern_value::{Map, Value};

use crate::bind::Bound;
use crate::error::Error;
use crate::users;

/// A hash by its name.
pub(crate) fn hash_type(name: &str) -> Result<HashType, Error> {
    HashType::parse(name)
        .ok_or_else(|| Error::Exception(format!("ValueError: Invalid hash type: {name}")))
}

/// The path argument of that name, with `~` and `~user` in front resolved.
pub(super) fn path_arg(args: &Bound, name: &str) -> PathBuf {
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
pub(super) fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("[Errno {code}] {}", strerror(error)),
        None => error.to_string(),
    }
}

pub(super) fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The lines of a call: its arguments, or those in `args=`.
pub(super) fn lines_of(args: &Bound) -> Vec<String> {
    let lines = match args.kwargs.get("args") {
        Some(Value::List(lines)) => lines.clone(),
        Some(one) => vec![one.clone()],
        None => args.varargs.clone(),
    };
    lines.iter().map(crate::bind::to_text).collect()
}

/// A mapping with text keys.
pub(super) fn map_of<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(Map::from(members))
}
