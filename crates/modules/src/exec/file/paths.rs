//! Paths as texts.

use saltern_value::Value;

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;

pub(super) fn basename(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = args.text("path");
    Ok(Value::from(path.rsplit('/').next().unwrap_or_default()))
}

pub(super) fn dirname(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::from(dir_of(&args.text("path"))))
}

/// Python's `os.path.dirname`.
pub(super) fn dir_of(path: &str) -> &str {
    let head = path.rfind('/').map_or("", |at| path.get(..=at).unwrap_or_default());
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head } else { trimmed }
}

pub(super) fn normpath(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::from(normalized(&args.text("path"))))
}

/// Python's `os.path.normpath`.
pub(super) fn normalized(path: &str) -> String {
    let slashes = path.bytes().take_while(|b| *b == b'/').count();
    // POSIX keeps exactly two slashes in front, and so does Python.
    let root = match slashes {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => drop(parts.pop()),
                None if !root.is_empty() => {}
                _ => parts.push(part),
            },
            other => parts.push(other),
        }
    }
    let joined = format!("{root}{}", parts.join("/"));
    if joined.is_empty() { ".".to_owned() } else { joined }
}

pub(super) fn join(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut path = String::new();
    for part in args.varargs.iter().map(to_text) {
        // An absolute part makes those before it void, as in Python.
        if part.starts_with('/') {
            path.clear();
        } else if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(&part);
    }
    Ok(Value::from(path))
}
