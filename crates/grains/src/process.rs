//! The minion itself: its id, versions, process, user and surroundings.

use std::env;
use std::time::SystemTime;

use saltern_base::localtime;
use saltern_crypto::HashType;
use saltern_value::{Map, Value};

use crate::sysroot::Sysroot;
use crate::{Inputs, SALT_VERSION};

/// The language level our answers follow where Python's shows (`repr`, truth, formats). There is
/// no interpreter; states that ask for the major number find 3.
const PYTHON: [i64; 3] = [3, 11, 0];

pub(crate) fn grains(sysroot: &Sysroot, inputs: &Inputs<'_>) -> Map {
    let mut grains = identity(inputs);
    grains.extend(user(sysroot));
    let path = env::var("PATH").unwrap_or_default().trim().to_owned();
    let dirs: Vec<String> = path.split(':').map(str::to_owned).collect();
    let executable = env::current_exe().unwrap_or_default();
    let program_dir = executable.parent().unwrap_or(&executable).to_string_lossy().into_owned();
    let cwd = env::current_dir().unwrap_or_default();
    let version = PYTHON.iter().map(|n| Value::Int(*n));
    let version: Vec<Value> = version.chain([Value::from("final"), Value::Int(0)]).collect();
    grains.extend([
        ("pid", Value::Int(i64::from(std::process::id()))),
        ("path", Value::from(path)),
        ("systempath", Value::from(dirs)),
        ("cwd", Value::from(cwd.to_string_lossy().into_owned())),
        ("shell", Value::from(env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned()))),
        ("saltpath", Value::from(program_dir)),
        ("pythonexecutable", Value::from(executable.to_string_lossy().into_owned())),
        ("pythonpath", Value::List(Vec::new())),
        ("pythonversion", Value::List(version)),
        ("locale_info", Value::Map(locale())),
    ]);
    grains
}

fn identity(inputs: &Inputs<'_>) -> Map {
    let release = SALT_VERSION.split('.').filter_map(|n| n.parse().ok()).map(Value::Int);
    let digest = HashType::Sha256.hex_digest(inputs.id.as_bytes());
    // The last 31 bits of the digest, as Salt's modulo takes them.
    let tail = digest.get(digest.len().saturating_sub(8)..).unwrap_or_default();
    let server_id = u32::from_str_radix(tail, 16).unwrap_or(0) & 0x7fff_ffff;
    let mut grains = Map::from([
        ("id", Value::from(inputs.id)),
        ("master", inputs.master.clone()),
        ("server_id", Value::Int(i64::from(server_id))),
        ("saltversion", Value::from(SALT_VERSION)),
        ("saltversioninfo", Value::List(release.collect())),
        ("saltern_version", Value::from(env!("CARGO_PKG_VERSION"))),
    ]);
    if let Some(domain) = inputs.append_domain {
        grains.insert("append_domain", domain);
    }
    grains
}

/// `uid`, `username`, `gid`, `groupname`: of the process, names from the local files.
fn user(sysroot: &Sysroot) -> Map {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let field = |file: &str, number: usize, wanted: u32, answer: usize| {
        let text = sysroot.read(file)?;
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let hit = fields.get(number)?.parse::<u32>().ok()? == wanted;
            hit.then(|| fields.get(answer).map(|f| (*f).to_owned())).flatten()
        })
    };
    let username = field("/etc/passwd", 2, uid, 0);
    let primary = field("/etc/passwd", 2, uid, 3).and_then(|g| g.parse().ok()).unwrap_or(gid);
    let groupname = field("/etc/group", 2, primary, 0).unwrap_or_default();
    Map::from([
        ("uid", Value::Int(i64::from(uid))),
        ("username", username.map_or_else(|| Value::from(uid.to_string()), Value::from)),
        ("gid", Value::Int(i64::from(gid))),
        ("groupname", Value::from(groupname)),
    ])
}

/// `locale_info` as Python sees the environment; it takes the plain C locale for American
/// English in UTF-8.
fn locale() -> Map {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_default();
    let (language, encoding) = language_and_encoding(&set);
    Map::from([
        ("defaultlanguage", Value::from(language)),
        ("defaultencoding", Value::from(encoding)),
        ("detectedencoding", Value::from("utf-8")),
        ("timezone", Value::from(localtime::local(SystemTime::now()).zone)),
    ])
}

fn language_and_encoding(locale: &str) -> (String, String) {
    let plain = locale.split('@').next().unwrap_or_default();
    let (language, encoding) = plain.split_once('.').unwrap_or((plain, "UTF-8"));
    let language = if ["", "C", "POSIX"].contains(&language) { "en_US" } else { language };
    let encoding = if ["utf8", "utf-8"].contains(&encoding.to_lowercase().as_str()) {
        "UTF-8"
    } else {
        encoding
    };
    (language.to_owned(), encoding.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_server_id_is_salts() {
        let set = Map::new();
        let inputs = Inputs {
            root: Path::new("/"),
            id: "g",
            master: Value::from("salt"),
            conf_dir: Path::new("/nonexistent"),
            set: &set,
            blacklist: &[],
            deep_merge: false,
            gpus: false,
            fqdns: false,
            append_domain: None,
        };
        let grains = identity(&inputs);
        assert_eq!(grains.get("server_id"), Some(&Value::Int(1_016_790_569)));
        assert_eq!(
            grains.get("saltversioninfo"),
            Some(&Value::List(vec![Value::Int(3006), Value::Int(24)]))
        );
    }

    #[test]
    fn locales() {
        let of = language_and_encoding;
        assert_eq!(of("C.UTF-8"), ("en_US".into(), "UTF-8".into()));
        assert_eq!(of("de_DE.ISO8859-15@euro"), ("de_DE".into(), "ISO8859-15".into()));
        assert_eq!(of(""), ("en_US".into(), "UTF-8".into()));
    }
}
