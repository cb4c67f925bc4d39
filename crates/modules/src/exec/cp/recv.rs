//! Files that come with a call, as `salt-cp` sends them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use saltern_value::{Map, Value};

use super::fetch::unpack;
use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;

pub(super) fn recv(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let Value::Map(files) = args.get("files") else {
        return Err(Error::invalid("files must be a dictionary of path and content"));
    };
    let dest = args.text("dest");
    let mut done = Map::new();
    for (path, data) in files {
        let path = to_text(path);
        let name = path.rsplit('/').next().unwrap_or_default();
        let target = PathBuf::from(&dest);
        let parent_exists = target.parent().is_some_and(Path::is_dir);
        let place = if target.is_dir() {
            target.join(name)
        } else if parent_exists || dest.rsplit('/').next() == Some(name) {
            target
        } else {
            return Ok(Value::from("Destination unavailable"));
        };
        let text = to_text(data);
        let bytes = data.as_raw().unwrap_or(text.as_bytes());
        done.insert(place.to_string_lossy().into_owned(), fs::write(&place, bytes).is_ok());
    }
    Ok(Value::Map(done))
}

pub(super) fn recv_chunked(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let dest = args.text("dest");
    let written = match args.get("chunk") {
        Value::Nil => match fs::create_dir_all(&dest) {
            Err(_) if Path::new(&dest).is_file() => {
                return Ok(Value::from("Path exists and is a file"));
            }
            other => other,
        },
        chunk => write_chunk(Path::new(&dest), chunk, &args),
    };
    // A piece that was not written fails the call with a text, as salt-cp expects it.
    Ok(written.map_or_else(
        |error| {
            ctx.set_retcode(1);
            Value::from(format!("{}: '{dest}'", error.to_string().replace(" (os error", " [errno")))
        },
        |()| Value::Bool(true),
    ))
}

fn write_chunk(dest: &Path, chunk: &Value, args: &Bound) -> io::Result<()> {
    let append = args.truthy("append");
    let data = decode(chunk.as_raw().unwrap_or_default())?;
    let data = if args.truthy("compressed") { unpack(&data)? } else { data };
    if let Some(dir) = dest.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut options = OpenOptions::new();
    if append {
        options.append(true).create(true);
    } else {
        options.write(true).create(true).truncate(true);
    }
    let mut file = options.open(dest)?;
    file.write_all(&data)?;
    let mode = args.get("mode").as_int().and_then(|m| u32::try_from(m).ok());
    match mode.filter(|_| !append) {
        Some(mode) => file.set_permissions(fs::Permissions::from_mode(mode & 0o7777)),
        None => Ok(()),
    }
}

/// Base64, with the line breaks some encoders put in.
fn decode(text: &[u8]) -> io::Result<Vec<u8>> {
    const LENIENT: GeneralPurpose = base64::engine::general_purpose::STANDARD;
    let plain: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    LENIENT.decode(plain).map_err(|e| io::Error::other(format!("the piece is no base64: {e}")))
}
