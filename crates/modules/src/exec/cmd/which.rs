//! Finding programs and shells.

use std::fs;
use std::io::Write;
use std::path::Path;

use saltern_value::{Map, Value};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;

/// Whether the path names a file we may execute.
pub(super) fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The path of a program: itself when it has a slash, else the first of the search path.
pub(crate) fn find(name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if name.contains('/') {
        return is_executable(Path::new(name)).then(|| name.to_owned());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    // The usual places are searched too: a service's search path may be short.
    path.split(':')
        .chain(["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"])
        .filter(|dir| !dir.is_empty())
        .map(|dir| format!("{}/{name}", dir.trim_end_matches('/')))
        .find(|candidate| is_executable(Path::new(candidate)))
}

pub(super) fn which(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::from(find(&args.text("cmd"))))
}

pub(super) fn which_bin(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let Value::List(names) = args.get("cmds") else { return Ok(Value::Nil) };
    Ok(Value::from(names.iter().find_map(|name| find(&to_text(name)))))
}

pub(super) fn has_exec(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(find(&args.text("cmd")).is_some()))
}

pub(super) fn shells(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let text = fs::read_to_string("/etc/shells").unwrap_or_default();
    let listed = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(Value::List(listed.map(Value::from).collect()))
}

pub(super) fn tty(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let device = args.text("device");
    let answer = |key: &str, text: String| Ok(Value::Map(Map::from([(key, text)])));
    let plain = device.bytes().all(|b| b.is_ascii_alphanumeric());
    let path = match device.strip_prefix("pts") {
        Some(number) if plain => format!("/dev/pts/{number}"),
        None if plain && device.starts_with("tty") => format!("/dev/{device}"),
        _ => return answer("Error", "The specified device is not a valid TTY".to_owned()),
    };
    let written = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut tty| tty.write_all(args.text("echo").as_bytes()));
    match written {
        Ok(()) => answer("Success", format!("Message was successfully echoed to {path}")),
        Err(_) => answer("Error", format!("Echoing to {path} returned error")),
    }
}
