//! What is in files.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use fancy_regex::Regex;
use saltern_target::Glob;
use saltern_value::{Map, Value};

use super::{lines_of, os_error, path_arg};
use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;

/// A file larger than this is not returned: it could not travel to the master anyway.
const MAX_READ: u64 = 256 << 20;

pub(super) fn read(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    let bytes = read_limited(&path)?;
    if args.truthy("binary") {
        return Ok(Value::Bytes(bytes));
    }
    String::from_utf8(bytes).map(Value::from).map_err(|e| {
        Error::Exception(format!(
            "UnicodeDecodeError: '{}' is not UTF-8 text at byte {}",
            path.display(),
            e.utf8_error().valid_up_to()
        ))
    })
}

fn read_limited(path: &Path) -> Result<Vec<u8>, Error> {
    let file = fs::File::open(path).map_err(|e| os_error(&e, path))?;
    let mut bytes = Vec::new();
    file.take(MAX_READ + 1).read_to_end(&mut bytes).map_err(|e| os_error(&e, path))?;
    if bytes.len() as u64 > MAX_READ {
        return Err(Error::exec(format!("{} is too large to be returned", path.display())));
    }
    Ok(bytes)
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

pub(super) fn write(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (path, lines) = (path_arg(&args, "path"), lines_of(&args));
    fs::write(&path, joined(&lines)).map_err(|e| os_error(&e, &path))?;
    Ok(Value::from(format!("Wrote {} lines to \"{}\"", lines.len(), path.display())))
}

pub(super) fn append(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (path, lines) = (path_arg(&args, "path"), lines_of(&args));
    let attempt = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut text = joined(&lines);
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0u8];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                text.insert(0, '\n');
            }
        }
        file.write_all(text.as_bytes())
    };
    attempt().map_err(|e| os_error(&e, &path))?;
    Ok(Value::from(format!("Wrote {} lines to \"{}\"", lines.len(), path.display())))
}

pub(super) fn prepend(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (path, lines) = (path_arg(&args, "path"), lines_of(&args));
    let mut bytes = joined(&lines).into_bytes();
    match fs::read(&path) {
        Ok(old) => bytes.extend(old),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(os_error(&e, &path)),
    }
    fs::write(&path, bytes).map_err(|e| os_error(&e, &path))?;
    Ok(Value::from(format!("Prepended {} lines to \"{}\"", lines.len(), path.display())))
}

pub(super) fn truncate(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    let length = u64::try_from(args.int("length")?)
        .map_err(|_| Error::invalid("'length' must not be negative"))?;
    let file = OpenOptions::new().write(true).open(&path).map_err(|e| os_error(&e, &path))?;
    file.set_len(length).map_err(|e| os_error(&e, &path))?;
    Ok(Value::Nil)
}

pub(super) fn contains(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let text = args.text("text");
    let wanted = text.trim().as_bytes();
    let found = fs::read(path_arg(&args, "path"))
        .is_ok_and(|b| wanted.is_empty() || b.windows(wanted.len()).any(|w| w == wanted));
    Ok(Value::Bool(found))
}

/// A regular expression in Python's syntax, with flags in front.
pub(super) fn regex(pattern: &str, flags: &str) -> Result<Regex, Error> {
    // Only `\Z` means something else there: the very end.
    let pattern = pattern.replace("\\Z", "\\z");
    let text = if flags.is_empty() { pattern.clone() } else { format!("(?{flags}){pattern}") };
    Regex::new(&text).map_err(|e| Error::Exception(format!("error: {e} in '{pattern}'")))
}

pub(super) fn contains_regex(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let regex = regex(&args.text("regex"), "")?;
    let lchar = args.text("lchar");
    let Ok(bytes) = fs::read(path_arg(&args, "path")) else { return Ok(Value::Bool(false)) };
    let text = String::from_utf8_lossy(&bytes);
    let found = text.lines().any(|line| {
        let line = line.trim_start_matches(|c| lchar.contains(c));
        regex.is_match(line).unwrap_or(false)
    });
    Ok(Value::Bool(found))
}

pub(super) fn contains_glob(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let pattern = Glob::new(&args.text("glob_expr"));
    let Ok(bytes) = fs::read(path_arg(&args, "path")) else { return Ok(Value::Bool(false)) };
    // The whole text has to match, so a part of it is sought by `*part*`.
    Ok(Value::Bool(pattern.matches(&String::from_utf8_lossy(&bytes))))
}

pub(super) fn grep(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = path_arg(&args, "path");
    let mut cmd = vec![Value::from("grep")];
    for option in args.varargs.iter().map(to_text) {
        cmd.extend(crate::shlex::split(&option)?.into_iter().map(Value::from));
    }
    cmd.push(Value::from(args.text("pattern")));
    cmd.push(Value::from(path.to_string_lossy().into_owned()));
    let kwargs = Map::from([("python_shell", false), ("ignore_retcode", true)]);
    ctx.run("cmd.run_all", vec![Value::List(cmd)], kwargs)
}
