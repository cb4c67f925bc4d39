//! `root_dir` and everything that hangs on it.

use std::path::{Path, PathBuf};

use saltern_value::{Map, Value};

use crate::files::normal;
use crate::glob::{glob, has_magic};
use crate::known::Role;
use crate::option::text_of;

/// Puts the paths of Salt's layout below `root_dir` and fills in those that follow from others.
pub(crate) fn settle(raw: &mut Map, role: Role) {
    let text = |raw: &Map, name: &str| raw.get_str(name).unwrap_or_default().to_owned();
    let cachedir = text(raw, "cachedir");
    // Socket paths have a limit of 107 bytes; Salt moves long ones.
    if text(raw, "sock_dir").len() > cachedir.len() + 10 {
        raw.insert("sock_dir", format!("{cachedir}/.salt-unix"));
    }
    if !raw.get("extension_modules").is_some_and(Value::truthy) {
        raw.insert("extension_modules", format!("{cachedir}/extmods"));
    }
    if !raw.get("utils_dirs").is_some_and(Value::truthy) {
        let dir = format!("{}/utils", text(raw, "extension_modules"));
        raw.insert("utils_dirs", vec![Value::from(dir)]);
    }
    if role == Role::Master {
        raw.insert("token_dir", format!("{cachedir}/tokens"));
        raw.insert("syndic_dir", format!("{cachedir}/syndics"));
    }
    let root = root_dir(raw);
    for name in below_root(role) {
        if let Some(path) = raw.get_str(name).filter(|p| !p.is_empty() && !p.contains("://")) {
            let path = prefixed(&root, path);
            raw.insert(*name, path.to_string_lossy().into_owned());
        }
    }
    for name in ["file_roots", "pillar_roots"] {
        if let Some(Value::Map(roots)) = raw.get(name) {
            let roots = expanded(roots);
            raw.insert(name, roots);
        }
    }
}

/// The absolute `root_dir`.
pub(crate) fn root_dir(raw: &Map) -> PathBuf {
    let root = raw.get_str("root_dir").filter(|r| !r.is_empty()).unwrap_or("/");
    let absolute = std::path::absolute(root).unwrap_or_else(|_| PathBuf::from(root));
    normal(&absolute)
}

fn below_root(role: Role) -> &'static [&'static str] {
    match role {
        Role::Master => &[
            "pki_dir",
            "cachedir",
            "pidfile",
            "sock_dir",
            "extension_modules",
            "autosign_file",
            "autoreject_file",
            "token_dir",
            "syndic_dir",
            "sqlite_queue_dir",
            "autosign_grains_dir",
            "log_file",
            "key_logfile",
            "ssh_log_file",
            "health_file",
        ],
        Role::Minion => &[
            "pki_dir",
            "cachedir",
            "sock_dir",
            "extension_modules",
            "pidfile",
            "log_file",
            "key_logfile",
        ],
    }
}

/// Every path goes below the root once, absolute ones included.
fn prefixed(root: &Path, path: &str) -> PathBuf {
    let plain = Path::new(path);
    if root != Path::new("/") && plain != root && plain.starts_with(root) {
        return normal(plain);
    }
    normal(&root.join(path.trim_start_matches('/')))
}

/// Names of environments are texts, wildcards in directories become what they match.
fn expanded(roots: &Map) -> Map {
    let dirs = |value: &Value| -> Vec<Value> {
        let Value::List(list) = value else { return Vec::new() };
        list.iter()
            .flat_map(|dir| match dir.as_str() {
                Some(pattern) if has_magic(pattern) => glob(Path::new(pattern))
                    .into_iter()
                    .map(|p| Value::from(p.to_string_lossy().into_owned()))
                    .collect(),
                _ => vec![dir.clone()],
            })
            .collect()
    };
    roots.iter().map(|(env, value)| (text_of(env), dirs(value))).collect()
}

/// `log_dir` gives `log_file` its directory when that has none of its own.
pub(crate) fn apply_log_dir(options: &mut Map, role: Role) {
    let Some(dir) = options.get_str("log_dir").filter(|d| !d.is_empty()) else { return };
    let file = options.get_str("log_file").filter(|f| !f.is_empty()).unwrap_or(role.name());
    let path = Path::new(dir).join(file);
    options.insert("log_file", path.to_string_lossy().into_owned());
}

/// `append_minionid_config_dirs`: the id as the last part of some directories.
pub(crate) fn append_id(raw: &mut Map, id: &str) {
    let Some(Value::List(names)) = raw.get("append_minionid_config_dirs").cloned() else { return };
    for name in names.iter().filter_map(Value::as_str) {
        let Some(path) = raw.get_str(name).map(PathBuf::from) else { continue };
        let last = path.file_name().unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new(""));
        let path = match name {
            "pki_dir" | "cachedir" | "extension_modules" => path.join(id),
            "default_include" => parent.join(id).join(last),
            "pidfile" => parent.join("salt").join(id).join(last),
            _ => continue,
        };
        raw.insert(name, path.to_string_lossy().into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_below_the_root_once() {
        let below =
            |root: &str, path: &str| prefixed(Path::new(root), path).to_string_lossy().into_owned();
        assert_eq!(below("/", "/var/run/x.pid"), "/var/run/x.pid");
        assert_eq!(below("/srv/r", "/var/log/salt/minion"), "/srv/r/var/log/salt/minion");
        assert_eq!(below("/srv/r", "/srv/r/pki"), "/srv/r/pki");
        assert_eq!(below("/srv/r", "pki"), "/srv/r/pki");
        assert_eq!(below("/srv/r", "/srv/root/pki"), "/srv/r/srv/root/pki");
    }

    #[test]
    fn the_id_becomes_a_directory() {
        let mut raw = Map::from([
            ("pki_dir", Value::from("/p")),
            ("pidfile", Value::from("/run/m.pid")),
            (
                "append_minionid_config_dirs",
                Value::List(vec![Value::from("pki_dir"), Value::from("pidfile")]),
            ),
        ]);
        append_id(&mut raw, "web");
        assert_eq!(raw.get_str("pki_dir"), Some("/p/web"));
        assert_eq!(raw.get_str("pidfile"), Some("/run/salt/web/m.pid"));
    }

    #[test]
    fn a_log_directory_takes_the_log_file() {
        let mut options = Map::from([("log_dir", "/l")]);
        apply_log_dir(&mut options, Role::Minion);
        assert_eq!(options.get_str("log_file"), Some("/l/minion"));
        let mut options = Map::from([("log_dir", "/l"), ("log_file", "/x/y")]);
        apply_log_dir(&mut options, Role::Minion);
        assert_eq!(options.get_str("log_file"), Some("/x/y"));
    }
}
