//! The state file, `<cachedir>/failover.json`: what a minion shows of itself, for `salt-call` and
//! for the time after its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use saltern_base::atomic_file;
use saltern_base::time::stamp;
use saltern_value::{Map, Value, json};

use super::shown::{away, shown};
use crate::core::Core;

/// Two writes are at least so far apart.
const COALESCED: Duration = Duration::from_secs(1);

/// How often what nobody reports (the returns that wait, the latency) is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A larger file is none of ours.
const MAX_BYTES: u64 = 1 << 20;

/// Which process wrote the file; not shown.
const PROCESS: &str = "process";

/// When it was written.
const AS_OF: &str = "as_of";

fn path(cachedir: &Path) -> PathBuf {
    cachedir.join("failover.json")
}

/// Keeps the file up to date for as long as the minion lives.
pub(crate) async fn keep(core: Arc<Core>) {
    let path = path(&core.access.opts.cachedir);
    let mut changed = core.views.subscribe();
    let mut written = Map::new();
    let mut failing = false;
    loop {
        changed.mark_unchanged();
        let fresh = shown(&core);
        if differ(&written, &fresh) {
            let (path, text) = (path.clone(), text(&fresh));
            let write = move || atomic_file::write(&path, text.as_bytes(), 0o640);
            let done = tokio::task::spawn_blocking(write).await;
            match done.unwrap_or_else(|e| Err(io::Error::other(e))) {
                Ok(()) => (written, failing) = (fresh, false),
                // A full disk is told once, not every second.
                Err(error) if !failing => {
                    failing = true;
                    log::error!("The state file for failover.status is not written: {error}");
                }
                Err(_) => {}
            }
            tokio::time::sleep(COALESCED).await;
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn text(shown: &Map) -> String {
    let mut all = shown.clone();
    all.insert(AS_OF, now());
    all.insert(PROCESS, mark(std::process::id()).unwrap_or_default());
    json::to_string(&Value::Map(all), Some(2)) + "\n"
}

fn now() -> Value {
    let text = stamp(SystemTime::now());
    Value::from(format!("{}Z", text.split('.').next().unwrap_or(&text)))
}

/// Whether there is news. A latency is news when it has doubled or halved.
fn differ(old: &Map, new: &Map) -> bool {
    const LATENCY: &str = "probe_latency_ms";
    let latency = |map: &Map| map.get(LATENCY).and_then(Value::as_f64);
    let same_latency = match (latency(old), latency(new)) {
        (Some(a), Some(b)) => a.max(b) <= 2.0 * a.min(b).max(1.0),
        (a, b) => a == b,
    };
    let rest = |map: &Map| {
        let mut map = map.clone();
        map.remove(LATENCY);
        map
    };
    !same_latency || rest(old) != rest(new)
}

/// What the file says, for a program that is not the daemon. Says so when no daemon runs.
pub(crate) fn read(cachedir: &Path, id: &str) -> Map {
    let path = path(cachedir);
    let text = match load(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let comment =
                format!("no minion daemon has run here yet ({} is missing)", path.display());
            return away(id, comment);
        }
        Err(error) => {
            return away(id, format!("the state file {} is not readable: {error}", path.display()));
        }
    };
    match json::parse(&text) {
        Ok(Value::Map(known)) => judged(known),
        _ => away(id, format!("the state file {} is damaged", path.display())),
    }
}

fn load(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is far too large"));
    }
    fs::read_to_string(path)
}

/// Says whether the process that wrote this still runs.
fn judged(mut known: Map) -> Map {
    let pid = known.get("pid").and_then(Value::as_int).and_then(|p| u32::try_from(p).ok());
    let written_by = known.remove(PROCESS);
    let runs = pid.and_then(mark).map(Value::from) == written_by && written_by.is_some();
    if runs {
        return known;
    }
    let pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let as_of = known.get_str(AS_OF).unwrap_or("an unknown time").to_owned();
    let comment = format!(
        "the minion daemon does not run (its process {pid} is gone); the rest is what it knew at \
         {as_of}"
    );
    let mut shown =
        Map::from([("id", known.remove("id").unwrap_or_default()), ("running", false.into())]);
    shown.insert("comment", comment);
    known.remove("running");
    known.remove("if_master_dies");
    known.insert("state", "not running");
    shown.extend(known);
    shown
}

/// What tells a process from all others: the boot it belongs to and its start, in clock ticks
/// since then. `None` when there is no such process.
fn mark(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold anything; the twentieth word after it is the start.
    let start = stat.rsplit_once(") ")?.1.split(' ').nth(19)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{}/{start}", boot.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(latency: f64, state: &str) -> Map {
        Map::from([("probe_latency_ms", Value::from(latency)), ("state", state.into())])
    }

    #[test]
    fn small_changes_of_the_latency_are_no_news() {
        assert!(!differ(&known(2.0, "a"), &known(3.5, "a")));
        assert!(!differ(&known(0.1, "a"), &known(0.9, "a")), "below a millisecond all is equal");
        assert!(differ(&known(2.0, "a"), &known(5.0, "a")));
        assert!(differ(&known(2.0, "a"), &known(2.0, "b")));
        assert!(differ(&Map::new(), &known(2.0, "a")));
    }

    #[test]
    fn a_file_of_a_process_that_is_gone_says_so() {
        let mut all = known(1.0, "connected");
        all.insert("pid", i64::from(std::process::id()));
        all.insert("running", true);
        all.insert(PROCESS, mark(std::process::id()).unwrap());
        let alive = judged(all.clone());
        assert_eq!(alive.get("running"), Some(&Value::from(true)));
        assert_eq!(alive.get(PROCESS), None);
        // The same number, another process.
        all.insert(PROCESS, "boot/1");
        let gone = judged(all);
        assert_eq!(gone.get("running"), Some(&Value::from(false)));
        assert!(gone.get_str("comment").unwrap().contains("does not run"));
        assert_eq!(gone.get_str("state"), Some("not running"));
    }
}
