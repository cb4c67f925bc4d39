//! Processes and who is logged in.

use std::fs;
use std::os::unix::fs::MetadataExt;

use saltern_value::{Map, Value};

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::users;

struct Process {
    pid: String,
    cmd: String,
    uid: u32,
}

/// All processes. One that ends meanwhile is left out.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().into_string().ok()?;
            if !pid.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let uid = entry.metadata().ok()?.uid();
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
            let cmd = if line.is_empty() {
                // A thread of the kernel has a name only.
                let name = fs::read_to_string(entry.path().join("comm")).ok()?;
                format!("[{}]", name.trim_end())
            } else {
                line
            };
            Some(Process { pid, cmd, uid })
        })
        .collect()
}

pub(super) fn procs(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let mut names: Vec<(u32, String)> = Vec::new();
    let mut found = Map::new();
    for process in all() {
        let name = match names.iter().find(|(uid, _)| *uid == process.uid) {
            Some((_, name)) => name.clone(),
            None => {
                let name =
                    users::user_of(process.uid).map_or_else(|| process.uid.to_string(), |u| u.name);
                names.push((process.uid, name.clone()));
                name
            }
        };
        found.insert(process.pid, Map::from([("user", name), ("cmd", process.cmd)]));
    }
    Ok(Value::Map(found))
}

pub(super) fn pid(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    // Plain text, never an expression and never a shell line: process names are anyone's to choose.
    let sig = args.text("sig");
    let own = std::process::id().to_string();
    let mut pids: Vec<u64> = all()
        .into_iter()
        .filter(|p| p.pid != own && p.cmd.contains(&sig))
        .filter_map(|p| p.pid.parse().ok())
        .collect();
    pids.sort_unstable();
    let text: Vec<String> = pids.iter().map(u64::to_string).collect();
    Ok(Value::from(text.join("\n")))
}

pub(super) fn w(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    if crate::exec::cmd_which("w").is_none() {
        return Ok(Value::List(Vec::new()));
    }
    let cmd = Value::List(vec!["w".into(), "-h".into()]);
    let text = ctx.run("cmd.run", vec![cmd], Map::from([("ignore_retcode", true)]))?;
    let rows = text.as_str().unwrap_or_default().lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = |i: usize| words.get(i).copied().unwrap_or_default();
        (words.len() > 7).then(|| {
            Value::from_iter([
                ("idle", at(4).to_owned()),
                ("jcpu", at(5).to_owned()),
                ("login", at(3).to_owned()),
                ("pcpu", at(6).to_owned()),
                ("tty", at(1).to_owned()),
                ("user", at(0).to_owned()),
                ("what", words.get(7..).unwrap_or_default().join(" ")),
            ])
        })
    });
    Ok(Value::List(rows.collect()))
}
