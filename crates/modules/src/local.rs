//! The master's part of a masterless call: the file commands, answered from our own `file_roots`.

use std::path::PathBuf;

use saltern_crypto::HashType;
use saltern_fileserver::{FileServer, Piece, Settings};
use saltern_value::{Map, Value};

use crate::bind::to_text;
use crate::host::HostError;

/// Answers what `cp` asks a master for. `opts` are the minion's options.
pub(crate) fn answer(load: &Map, opts: &Map) -> Result<Value, HostError> {
    let cmd = load.get_str("cmd").unwrap_or_default();
    let env = load.get_str("saltenv").unwrap_or("base");
    let path = load.get_str("path").unwrap_or_default();
    let prefix = load.get_str("prefix").unwrap_or_default();
    let number = |name: &str| load.get(name).and_then(Value::as_int);
    if !cmd.starts_with("_file_") && !matches!(cmd, "_dir_list" | "_symlink_list" | "_serve_file") {
        return Err(HostError::NoMaster);
    }
    let server = FileServer::new(settings(opts)).map_err(|e| HostError::Failed(e.to_string()))?;
    Ok(match cmd {
        "_file_envs" => server.envs(),
        "_file_find" => server.find(env, path),
        "_file_hash" => server.hash(env, path),
        "_file_hash_and_stat" => server.hash_and_stat(env, path),
        "_file_list" => server.list(env, prefix),
        "_file_list_emptydirs" => server.empty_dirs(env, prefix),
        "_dir_list" => server.dirs(env, prefix),
        "_symlink_list" => server.symlinks(env, prefix),
        "_serve_file" => {
            let at = number("loc").and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
            let gzip = number("gzip").and_then(|level| u32::try_from(level).ok());
            let whole = load.get("whole").is_some_and(Value::truthy);
            Piece::answer(server.piece(env, path, at, whole), gzip)
        }
        _ => return Err(HostError::NoMaster),
    })
}

fn settings(opts: &Map) -> Settings {
    let texts = |value: Option<&Value>| -> Vec<String> {
        value.and_then(Value::as_list).unwrap_or_default().iter().map(to_text).collect()
    };
    let flag = |name: &str, default: bool| opts.get(name).map_or(default, Value::truthy);
    let roots = opts.get("file_roots").and_then(Value::as_map);
    Settings {
        roots: roots
            .into_iter()
            .flatten()
            .map(|(env, dirs)| {
                (to_text(env), texts(Some(dirs)).into_iter().map(PathBuf::from).collect())
            })
            .collect(),
        hash_type: opts.get_str("hash_type").and_then(HashType::parse).unwrap_or(HashType::Sha256),
        buffer_size: opts
            .get("file_buffer_size")
            .and_then(Value::as_int)
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| *size > 0)
            .unwrap_or(1 << 20),
        follow_symlinks: flag("fileserver_followsymlinks", true),
        ignore_symlinks: flag("fileserver_ignoresymlinks", false),
        ignore_regex: texts(opts.get("file_ignore_regex")),
        ignore_glob: texts(opts.get("file_ignore_glob")),
    }
}
