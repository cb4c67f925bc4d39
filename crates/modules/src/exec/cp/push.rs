//! Files that go to the master (`cp.push`).

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use saltern_target::Glob;
use saltern_value::{Map, Value};

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::exec::file::os_error;

/// A path that may be sent: absolute, without steps back.
fn sendable(path: &str) -> bool {
    !path.contains("../") && Path::new(path).is_absolute()
}

pub(super) fn push(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = args.text("path");
    if !sendable(&path) {
        log::debug!("cp.push: '{path}' is not absolute");
        return Ok(Value::Bool(false));
    }
    let mut source = PathBuf::from(&path);
    if !args.truthy("keep_symlinks") {
        source = fs::canonicalize(&source).unwrap_or(source);
    }
    let upload = args.opt_text("upload_path");
    let sent = send(ctx, &source, upload.as_deref())?;
    if sent && args.truthy("remove_source") {
        return Ok(Value::Bool(fs::remove_file(&source).is_ok()));
    }
    Ok(Value::Bool(sent))
}

/// Sends one file; `false` when it cannot be sent or the master does not take it.
fn send(ctx: &Context<'_>, source: &Path, upload: Option<&str>) -> Result<bool, Error> {
    if !source.is_file() || upload.is_some_and(|u| u.contains("../")) {
        return Ok(false);
    }
    let target = upload.map_or_else(|| source.to_string_lossy().into_owned(), str::to_owned);
    let parts: Vec<Value> = target
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(Value::from)
        .collect();
    let mut file = File::open(source).map_err(|e| os_error(&e, source))?;
    let size = file.metadata().map_err(|e| os_error(&e, source))?.len();
    let chunk = ctx.opt("file_buffer_size").as_int().and_then(|s| u64::try_from(s).ok());
    let chunk = chunk.filter(|s| *s > 0).unwrap_or(1 << 20);
    let (mut at, mut first) = (0u64, true);
    loop {
        let mut data = Vec::new();
        file.by_ref().take(chunk).read_to_end(&mut data).map_err(|e| os_error(&e, source))?;
        if data.is_empty() && !first {
            return Ok(true);
        }
        let length = data.len() as u64;
        let load = Map::from([
            ("cmd", Value::from("_file_recv")),
            ("path", Value::List(parts.clone())),
            ("size", Value::from(size)),
            ("loc", Value::from(at)),
            ("data", Value::Bytes(data)),
        ]);
        if !ctx.host().request(load, None)?.truthy() {
            log::error!(
                "cp.push: the master did not take {}; file_recv must be True there and \
                 file_recv_max_size large enough",
                source.display()
            );
            return Ok(false);
        }
        at += length;
        first = false;
    }
}

pub(super) fn push_dir(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = args.text("path");
    if !sendable(&path) {
        return Ok(Value::Bool(false));
    }
    let root = fs::canonicalize(&path).unwrap_or_else(|_| PathBuf::from(&path));
    let upload = args.opt_text("upload_path");
    if root.is_file() {
        return Ok(Value::Bool(send(ctx, &root, upload.as_deref())?));
    }
    let glob = args.opt_text("glob").map(|g| Glob::new(&g));
    let mut files = files_below(&root);
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        glob.as_ref().is_none_or(|g| g.matches(&name))
    });
    for file in &files {
        let relative = file.strip_prefix(&root).unwrap_or(file).to_string_lossy();
        let target = upload.as_ref().map(|u| format!("/{}/{relative}", u.trim_matches('/')));
        if !send(ctx, file, target.as_deref())? {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(!files.is_empty()))
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}
