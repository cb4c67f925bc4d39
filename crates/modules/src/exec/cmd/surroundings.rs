//! Who a command runs as, where, and with which environment.

use std::path::Path;
use std::time::Duration;

use saltern_value::{Map, Value};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::process::{self, Identity, Program};
use crate::users;

/// How long the login shell of `runas` may take to tell its environment.
const LOGIN_TIME: Duration = Duration::from_secs(10);

/// The locale settings a command gets, so that what it prints can be read by programs.
const PLAIN_LOCALE: [&str; 12] = [
    "LC_CTYPE",
    "LC_NUMERIC",
    "LC_TIME",
    "LC_COLLATE",
    "LC_MONETARY",
    "LC_MESSAGES",
    "LC_PAPER",
    "LC_NAME",
    "LC_ADDRESS",
    "LC_TELEPHONE",
    "LC_MEASUREMENT",
    "LC_IDENTIFICATION",
];

pub(super) fn identity(
    runas: Option<&str>,
    group: Option<&str>,
) -> Result<Option<Identity>, Error> {
    let user = match runas {
        None => None,
        Some(name) => Some(
            users::user(name)
                .ok_or_else(|| Error::exec(format!("User '{name}' is not available")))?,
        ),
    };
    let group = match group {
        None => None,
        Some(name) => Some(
            users::group(name)
                .ok_or_else(|| Error::exec(format!("Group '{name}' is not available")))?
                .gid,
        ),
    };
    let own = rustix::process::geteuid().as_raw();
    let (uid, mut groups) = match &user {
        Some(user) => (user.uid, users::groups_of(user)),
        None => (own, Vec::new()),
    };
    let Some(gid) = group.or(user.map(|u| u.gid)) else { return Ok(None) };
    let same = uid == own && rustix::process::getegid().as_raw() == gid;
    if same {
        return Ok(None);
    }
    groups.retain(|g| *g != gid);
    groups.insert(0, gid);
    Ok(Some(Identity { uid, gid, groups }))
}

pub(super) fn working_directory(args: &Bound, runas: Option<&str>) -> Result<String, Error> {
    if let Some(cwd) = args.opt_text("cwd") {
        if !Path::new(&cwd).is_absolute() || !Path::new(&cwd).is_dir() {
            return Err(Error::exec(format!(
                "Specified cwd '{cwd}' either not absolute or does not exist"
            )));
        }
        return Ok(cwd);
    }
    let home = match runas {
        Some(name) => users::user(name).map(|u| u.home),
        None => std::env::var("HOME")
            .ok()
            .or_else(|| users::user_of(rustix::process::geteuid().as_raw()).map(|u| u.home)),
    };
    Ok(home
        .filter(|h| {
            let readable = rustix::fs::access(h.as_str(), rustix::fs::Access::READ_OK).is_ok();
            readable && Path::new(h).is_absolute() && Path::new(h).is_dir()
        })
        .unwrap_or_else(|| "/".to_owned()))
}

/// The whole environment of the command: ours, then that of the user's login, then what the call
/// asks for.
pub(super) fn environment(
    ctx: &Context<'_>,
    args: &Bound,
    runas: Option<&str>,
    identity: Option<&Identity>,
    shell: &str,
) -> Result<Vec<(String, String)>, Error> {
    let asked = asked_environment(args.get("env"));
    let mut own: Vec<(String, String)> = Vec::new();
    if let Some(user) = runas.and_then(users::user) {
        own = login_environment(ctx, &user, identity, shell);
        set(&mut own, "USER", &user.name);
        set(&mut own, "HOME", &user.home);
    }
    for (key, value) in &asked {
        set(&mut own, key, value);
    }
    if args.truthy("reset_system_locale") || !args.has("reset_system_locale") {
        for key in PLAIN_LOCALE.into_iter().chain(["LANGUAGE"]) {
            if !own.iter().any(|(k, _)| k == key) {
                set(&mut own, key, "C");
            }
        }
    }
    let mut all = if args.truthy("clean_env") {
        Vec::new()
    } else {
        std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            // The service manager's socket is the minion's, not the command's.
            .filter(|(k, _)| k != "NOTIFY_SOCKET")
            .collect()
    };
    for (key, value) in own {
        set(&mut all, &key, &value);
    }
    if let Some(first) = args.opt_text("prepend_path") {
        let path = all.iter().find(|(k, _)| k == "PATH").map_or("", |(_, v)| v.as_str());
        let path = format!("{first}:{path}");
        set(&mut all, "PATH", &path);
    }
    if let Some((key, _)) =
        all.iter().find(|(k, v)| k.is_empty() || k.contains(['=', '\0']) || v.contains('\0'))
    {
        return Err(Error::invalid(format!("'{key}' is no name of an environment variable")));
    }
    Ok(all)
}

fn set(env: &mut Vec<(String, String)>, key: &str, value: &str) {
    match env.iter_mut().find(|(k, _)| k == key) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((key.to_owned(), value.to_owned())),
    }
}

/// `env` as a mapping, or a list of mappings.
fn asked_environment(env: &Value) -> Vec<(String, String)> {
    let maps: Vec<&Map> = match env {
        Value::Map(m) => vec![m],
        Value::List(items) => items.iter().filter_map(Value::as_map).collect(),
        _ => Vec::new(),
    };
    maps.into_iter()
        .flatten()
        .map(|(k, v)| {
            if v.is_nil() {
                log::error!("Environment variable '{}' has no value; it is set empty", to_text(k));
            }
            (to_text(k), if v.is_nil() { String::new() } else { to_text(v) })
        })
        .collect()
}

/// What a login of the user would have in its environment, profile files included. Empty, with a
/// line in the log, when the login shell does not tell.
fn login_environment(
    ctx: &Context<'_>,
    user: &users::User,
    identity: Option<&Identity>,
    shell: &str,
) -> Vec<(String, String)> {
    const MARK: &str = "<<<saltern-environment>>>";
    let name = shell.rsplit('/').next().unwrap_or(shell);
    let base = [
        ("HOME", user.home.as_str()),
        ("USER", &user.name),
        ("LOGNAME", &user.name),
        ("SHELL", shell),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ];
    let program = Program {
        argv: vec![
            shell.to_owned(),
            "-c".to_owned(),
            format!("printf '%s' '{MARK}'; env -0; printf '%s' '{MARK}'"),
        ],
        shown_as: Some(format!("-{name}")),
        cwd: "/".into(),
        env: base.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        timeout: Some(LOGIN_TIME),
        identity: identity.cloned(),
        ..Program::default()
    };
    let done = match process::run(&program, ctx.job()) {
        Ok(done) => done,
        Err(error) => {
            log::error!("The environment of user '{}' cannot be read: {error}", user.name);
            return Vec::new();
        }
    };
    let text = String::from_utf8_lossy(&done.stdout);
    let Some(listed) = text.split(MARK).nth(1) else {
        log::error!("The environment of user '{}' cannot be read", user.name);
        return Vec::new();
    };
    listed
        .split('\0')
        .filter_map(|entry| entry.split_once('='))
        .filter(|(k, _)| !matches!(*k, "_" | "SHLVL" | "PWD" | "OLDPWD"))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}
