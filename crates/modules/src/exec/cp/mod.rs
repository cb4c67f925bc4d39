//! `cp`: files from the master's file server, files to the master, and files from `salt-cp`.

mod client;
mod fetch;
mod push;
mod recv;
mod window;

use saltern_value::{Map, Value};

use self::client::{FileClient, Url};
use self::fetch::Fetched;
use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "cp",
    doc: "Copy files between master and minion.",
    functions: &[
        Function::new(
            "cache_dir",
            "path, saltenv=None, include_empty=False, include_pat=None, exclude_pat=None",
            cache_dir,
            "Fetches all files below a directory into the cache and lists them. include_pat and exclude_pat are shell patterns, or regular expressions after E@.",
            "cp.cache_dir salt://path/to/dir",
        ),
        Function::new(
            "cache_file",
            "path, saltenv=None, source_hash=None, verify_ssl=True, use_etag=False",
            cache_file,
            "Fetches a file into the cache and returns where it is; False when there is none.",
            "cp.cache_file salt://path/to/file",
        ),
        Function::new(
            "cache_files",
            "paths, saltenv=None",
            cache_files,
            "Fetches several files into the cache, given as a list or separated by commas.",
            "cp.cache_files salt://a,salt://b",
        ),
        Function::new(
            "cache_local_file",
            "path",
            cache_local_file,
            "Copies a file of the minion into the cache.",
            "cp.cache_local_file /etc/hosts",
        ),
        Function::new(
            "cache_master",
            "saltenv=None",
            cache_master,
            "Fetches every file of the file server into the cache.",
            "cp.cache_master",
        ),
        Function::new("envs", "", envs, "Lists the environments of the file server.", "cp.envs"),
        Function::new(
            "get_dir",
            "path, dest, saltenv=None, template=None, gzip=None, **kwargs",
            get_dir,
            "Copies a directory of the file server.",
            "cp.get_dir salt://path/to/dir /minion/dest",
        ),
        Function::new(
            "get_file",
            "path, dest, saltenv=None, makedirs=False, template=None, gzip=None, **kwargs",
            get_file,
            "Copies a file of the file server; gzip (1 to 9) compresses it on the way.",
            "cp.get_file salt://path/to/file /minion/dest makedirs=True",
        ),
        Function::new(
            "get_file_str",
            "path, saltenv=None",
            get_file_str,
            "The content of a file of the file server; False when there is none.",
            "cp.get_file_str salt://my/file",
        ),
        Function::new(
            "get_url",
            "path, dest='', saltenv=None, makedirs=False, source_hash=None",
            get_url,
            "Copies a file from salt:// or file://, into the cache when dest is empty; returns its content when dest is None.",
            "cp.get_url salt://my/file /tmp/mine",
        ),
        Function::new(
            "hash_file",
            "path, saltenv=None",
            hash_file,
            "The hash of a file of the file server, or of the minion.",
            "cp.hash_file salt://path/to/file",
        ),
        Function::new(
            "is_cached",
            "path, saltenv=None",
            is_cached,
            "Where a file is in the cache; empty when it is not.",
            "cp.is_cached salt://path/to/file",
        ),
        Function::new(
            "list_master",
            "saltenv=None, prefix=''",
            list_master,
            "Lists the files of the file server.",
            "cp.list_master",
        ),
        Function::new(
            "list_master_dirs",
            "saltenv=None, prefix=''",
            list_master_dirs,
            "Lists the directories of the file server.",
            "cp.list_master_dirs",
        ),
        Function::new(
            "list_master_symlinks",
            "saltenv=None, prefix=''",
            list_master_symlinks,
            "Lists the symbolic links of the file server and where they lead.",
            "cp.list_master_symlinks",
        ),
        Function::new(
            "list_minion",
            "saltenv=None",
            list_minion,
            "Lists the files in the cache.",
            "cp.list_minion",
        ),
        Function::new(
            "list_states",
            "saltenv=None",
            list_states,
            "Lists the states of the file server.",
            "cp.list_states",
        ),
        Function::new(
            "push",
            "path, keep_symlinks=False, upload_path=None, remove_source=False",
            push::push,
            "Sends a file to the master, which has to allow it (file_recv).",
            "cp.push /etc/fstab",
        ),
        Function::new(
            "push_dir",
            "path, glob=None, upload_path=None",
            push::push_dir,
            "Sends all files below a directory to the master; glob chooses by name.",
            "cp.push_dir /etc/modprobe.d/ glob='*.conf'",
        ),
        Function::new(
            "recv",
            "files, dest",
            recv::recv,
            "Used by salt-cp: writes files that come with the call.",
            "cp.recv '{/a: text}' /tmp",
        ),
        Function::new(
            "recv_chunked",
            "dest, chunk, append=False, compressed=True, mode=None",
            recv::recv_chunked,
            "Used by salt-cp: writes one piece of a file.",
            "cp.recv_chunked /tmp/x aGk= compressed=False",
        ),
        Function::new(
            "stat_file",
            "path, saltenv=None, octal=True",
            stat_file,
            "The mode of a file of the file server.",
            "cp.stat_file salt://path/to/file",
        ),
    ],
};

/// The environment: as given, else as configured, else `base`.
fn saltenv(ctx: &Context<'_>, args: &Bound) -> String {
    args.opt_text("saltenv")
        .or_else(|| ctx.opt_str("saltenv").filter(|e| !e.is_empty()))
        .unwrap_or_else(|| "base".to_owned())
}

fn refuse_template(args: &Bound) -> Result<(), Error> {
    if args.truthy("template") {
        return Err(Error::exec("'template' cannot be used: templates are not supported yet"));
    }
    Ok(())
}

fn ask(ctx: &Context<'_>, args: &Bound, cmd: &str) -> Result<Value, Error> {
    FileClient::new(ctx).list(cmd, &saltenv(ctx, args), &args.text("prefix"))
}

fn envs(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    FileClient::new(ctx).request(Map::from([("cmd", "_file_envs")]))
}

fn list_master(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    ask(ctx, &args, "_file_list")
}

fn list_master_dirs(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    ask(ctx, &args, "_dir_list")
}

fn list_master_symlinks(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    ask(ctx, &args, "_symlink_list")
}

fn list_states(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let files = ask(ctx, &args, "_file_list")?;
    let mut states: Vec<String> = files
        .as_list()
        .unwrap_or_default()
        .iter()
        .filter_map(|file| {
            let state = file.as_str()?.strip_suffix(".sls")?;
            Some(state.strip_suffix("/init").unwrap_or(state).replace('/', "."))
        })
        .collect();
    states.sort();
    states.dedup();
    Ok(states.into())
}

fn list_minion(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    FileClient::new(ctx).cached_files(&saltenv(ctx, &args))
}

fn hash_file(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    FileClient::new(ctx).hash(&Url::parse(&args.text("path"), &saltenv(ctx, &args)))
}

fn stat_file(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let url = Url::parse(&args.text("path"), &saltenv(ctx, &args));
    let Some(mode) = FileClient::new(ctx).mode(&url)? else { return Ok(Value::Nil) };
    Ok(if args.truthy("octal") {
        Value::from(format!("{:04o}", mode & 0o7777))
    } else {
        Value::Int(mode)
    })
}

fn is_cached(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let url = Url::parse(&args.text("path"), &saltenv(ctx, &args));
    let found = FileClient::new(ctx).cached(&url)?;
    Ok(Value::from(found.map_or(String::new(), |p| p.to_string_lossy().into_owned())))
}

fn get_file(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    refuse_template(&args)?;
    let client = FileClient::new(ctx);
    let url = Url::parse(&args.text("path"), &saltenv(ctx, &args));
    let gzip = args.opt_int("gzip")?;
    let dest = args.opt_text("dest");
    Ok(match client.fetch(&url, dest.as_deref(), args.truthy("makedirs"), gzip)? {
        Fetched::NoFile => Value::from(""),
        other => path_or_false(other.path()),
    })
}

fn path_or_false(path: Option<std::path::PathBuf>) -> Value {
    path.map_or(Value::Bool(false), |p| Value::from(p.to_string_lossy().into_owned()))
}

fn get_dir(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    refuse_template(&args)?;
    let client = FileClient::new(ctx);
    let Url::Salt { path, env } = Url::parse(&args.text("path"), &saltenv(ctx, &args)) else {
        return Err(Error::exec(format!("Unsupported path: {}", args.text("path"))));
    };
    let path = path.trim_end_matches('/');
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    let dest = args.text("dest");
    let mut got = Vec::new();
    // What a master lists becomes a path here: it must not lead out of the destination.
    let place = |name: &str| -> Result<std::path::PathBuf, Error> {
        let relative = client::inside(name.get(above.len()..).unwrap_or_default())?;
        Ok(std::path::Path::new(&dest).join(relative))
    };
    for dir in client.empty_dirs_below(&env, path)? {
        let to = place(&dir)?;
        std::fs::create_dir_all(&to).map_err(|e| super::file::os_error(&e, &to))?;
        got.push(path_or_false(Some(to)));
    }
    for file in client.below(&env, path)? {
        let to = place(&file)?;
        let url = Url::Salt { path: file, env: env.clone() };
        let gzip = args.opt_int("gzip")?;
        got.push(path_or_false(client.fetch(&url, to.to_str(), true, gzip)?.path()));
    }
    got.sort_by_key(to_text);
    Ok(Value::List(got))
}

fn get_url(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let client = FileClient::new(ctx);
    let url = Url::parse(&args.text("path"), &saltenv(ctx, &args));
    let into_memory = args.get("dest").is_nil();
    let got = match &url {
        Url::Local(path) => {
            if !path.is_absolute() {
                return Err(Error::exec(format!("Path '{}' is not absolute", path.display())));
            }
            Some(path.clone())
        }
        Url::Salt { .. } => {
            let dest = args.opt_text("dest");
            client.fetch(&url, dest.as_deref(), args.truthy("makedirs"), None)?.path()
        }
        Url::Other(scheme) => return Err(client::unsupported(scheme)),
    };
    match got {
        Some(path) if into_memory => {
            let text = std::fs::read(&path).map_err(|e| super::file::os_error(&e, &path))?;
            Ok(String::from_utf8(text).map_or_else(|e| Value::from(e.into_bytes()), Value::from))
        }
        other => Ok(path_or_false(other)),
    }
}

fn get_file_str(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let Value::Str(path) = cache_file(ctx, args)? else { return Ok(Value::Bool(false)) };
    match std::fs::read(&path) {
        Ok(bytes) => {
            Ok(String::from_utf8(bytes).map_or_else(|e| Value::from(e.into_bytes()), Value::from))
        }
        Err(_) => Ok(Value::Bool(false)),
    }
}

fn cache_file(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let url = Url::parse(&args.text("path"), &saltenv(ctx, &args));
    Ok(path_or_false(FileClient::new(ctx).cache(&url)?))
}

fn cache_files(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let client = FileClient::new(ctx);
    let env = saltenv(ctx, &args);
    let paths = args.list("paths");
    let cached: Result<Vec<Value>, Error> = paths
        .iter()
        .map(|path| Ok(path_or_false(client.cache(&Url::parse(&to_text(path), &env))?)))
        .collect();
    cached.map(Value::List)
}

fn cache_dir(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let client = FileClient::new(ctx);
    let Url::Salt { path, env } = Url::parse(&args.text("path"), &saltenv(ctx, &args)) else {
        return Err(Error::exec(format!("Unsupported path: {}", args.text("path"))));
    };
    let included = client::pattern(args.opt_text("include_pat").as_deref())?;
    let excluded = client::pattern(args.opt_text("exclude_pat").as_deref())?;
    let mut cached = Vec::new();
    for file in client.below(&env, path.trim_end_matches('/'))? {
        let wanted = included.as_ref().is_none_or(|p| p(&file))
            && !excluded.as_ref().is_some_and(|p| p(&file));
        if wanted && let Some(path) = client.cache(&Url::Salt { path: file, env: env.clone() })? {
            cached.push(path_or_false(Some(path)));
        }
    }
    if args.truthy("include_empty") {
        for dir in client.empty_dirs_below(&env, path.trim_end_matches('/'))? {
            cached.push(path_or_false(Some(client.make_cache_dir(&env, &dir)?)));
        }
    }
    Ok(Value::List(cached))
}

fn cache_master(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let client = FileClient::new(ctx);
    let env = saltenv(ctx, &args);
    let cached: Result<Vec<Value>, Error> = client
        .below(&env, "")?
        .into_iter()
        .map(|path| Ok(path_or_false(client.cache(&Url::Salt { path, env: env.clone() })?)))
        .collect();
    cached.map(Value::List)
}

fn cache_local_file(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = std::path::PathBuf::from(args.text("path"));
    if !path.exists() {
        return Ok(Value::from(""));
    }
    Ok(path_or_false(Some(FileClient::new(ctx).cache_local(&path)?)))
}

#[cfg(test)]
mod tests;
