//! `cmd.script`: run a copy of a file of the file server.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use saltern_value::{Map, Value};

use super::options::{Options, execute};
use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::{shlex, users};

pub(super) const SIGNATURE: &str = "source, args=None, cwd=None, stdin=None, runas=None, \
    group=None, shell=None, python_shell=None, env=None, template=None, umask=None, \
    output_encoding=None, output_loglevel='debug', log_callback=None, hide_output=False, \
    timeout=None, reset_system_locale=True, saltenv=None, use_vt=False, bg=False, password=None, \
    success_retcodes=None, success_stdout=None, success_stderr=None, **kwargs";

pub(super) fn script(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut options = Options::read(ctx, &args)?;
    let Some(copy) = Copy::fetch(ctx, &args)? else {
        return Ok(Value::Map(Map::from([
            ("pid", Value::Int(0)),
            ("retcode", Value::Int(1)),
            ("stdout", Value::from("")),
            ("stderr", Value::from("")),
            ("cache_error", Value::Bool(true)),
        ])));
    };
    let mut words = vec![Value::from(copy.0.to_string_lossy().into_owned())];
    match args.get("args") {
        Value::Nil => {}
        Value::List(list) => words.extend(list.iter().cloned()),
        other => words.extend(shlex::split(&to_text(other))?.into_iter().map(Value::from)),
    }
    if words.len() > 1 {
        options.python_shell = false;
    }
    options.cmd = Value::List(words);
    if args.truthy("bg") {
        // The copy has to stay for a program that is still to read it.
        let pid = options.start_in_background(ctx)?;
        std::mem::forget(copy);
        return Ok(Value::Map(Map::from([("pid", pid)])));
    }
    let result = execute(ctx, &options)?;
    Ok(result.into_map(options.hide_output).into())
}

pub(super) fn script_retcode(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let result = script(ctx, args)?;
    Ok(result.get("retcode").cloned().unwrap_or(Value::Int(1)))
}

/// A private, executable copy of a script; removed with the value.
struct Copy(PathBuf);

impl Copy {
    /// `None` when the source cannot be fetched.
    fn fetch(ctx: &Context<'_>, args: &Bound) -> Result<Option<Self>, Error> {
        let source = args.text("source");
        let kwargs = Map::from([("saltenv", args.get("saltenv").clone())]);
        let cached = ctx.run("cp.cache_file", vec![Value::from(source.clone())], kwargs)?;
        let Some(cached) = cached.as_str().filter(|p| !p.is_empty()) else { return Ok(None) };
        let text = match fs::read(cached) {
            Ok(text) => text,
            Err(error) => {
                log::error!("{cached} cannot be read: {error}");
                return Ok(None);
            }
        };
        let dir = args.opt_text("cwd").map_or_else(std::env::temp_dir, PathBuf::from);
        let source = source.split('?').next().unwrap_or_default();
        let extension = Path::new(source)
            .extension()
            .map_or(String::new(), |e| format!(".{}", e.to_string_lossy()));
        // Created new, never opened: what others planted there is not run.
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
        let path = dir.join(format!("__salt.tmp.{random}{extension}"));
        let copy = Copy(path.clone());
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o500)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &text));
        written.map_err(|e| Error::exec(format!("{} cannot be written: {e}", path.display())))?;
        if let Some(user) = args.opt_text("runas").as_deref().and_then(users::user) {
            chown(&path, Some(user.uid), None).map_err(|e| {
                Error::exec(format!("{} cannot be given to its user: {e}", path.display()))
            })?;
        }
        Ok(Some(copy))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::error!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
