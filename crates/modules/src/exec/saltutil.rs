//! `saltutil`: the minion's own jobs, caches, keys and data.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use saltern_target::Glob;
use saltern_value::{Map, Value, msgpack};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::exec::test::clean_kwargs;
use crate::host::Refresh;
use crate::jobs::Signalled;
use crate::registry::{Function, Module};

const SYNC: &str = "saltenv=None, refresh=True, extmod_whitelist=None, extmod_blacklist=None";
const SYNC_DOC: &str = "Returns an empty list: functions are compiled in, there is nothing to \
                        copy from the file server.";

macro_rules! sync {
    ($name:literal) => {
        Function::new($name, SYNC, sync, SYNC_DOC, concat!("saltutil.", $name))
    };
}

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "saltutil",
    doc: "Look after the minion itself.",
    functions: &[
        Function::new(
            "clear_cache",
            "",
            clear_cache,
            "Removes all files in the minion's cache directory, except those of running jobs.",
            "saltutil.clear_cache",
        ),
        Function::new(
            "clear_job_cache",
            "hours=24",
            clear_job_cache,
            "Removes kept returns of jobs older than that.",
            "saltutil.clear_job_cache hours=12",
        ),
        Function::new(
            "find_cached_job",
            "jid",
            find_cached_job,
            "Returns a kept return (option cache_jobs).",
            "saltutil.find_cached_job 20260102030405000678",
        ),
        Function::new(
            "find_job",
            "jid",
            find_job,
            "Returns a running job; empty when it does not run.",
            "saltutil.find_job 20260102030405000678",
        ),
        Function::new(
            "is_running",
            "fun",
            is_running,
            "Lists the running jobs whose function matches a shell pattern.",
            "saltutil.is_running 'state.*'",
        ),
        Function::new(
            "kill_all_jobs",
            "",
            |ctx, _| signal_all(ctx, 9),
            "Sends SIGKILL to all jobs.",
            "saltutil.kill_all_jobs",
        ),
        Function::new(
            "kill_job",
            "jid",
            |ctx, args| signal(ctx, &args.text("jid"), 9),
            "Sends SIGKILL to a job: its programs end at once, and it returns nothing.",
            "saltutil.kill_job 20260102030405000678",
        ),
        Function::new(
            "pillar_refresh",
            REFRESH_PILLAR,
            refresh_pillar,
            "Another name of saltutil.refresh_pillar.",
            "saltutil.pillar_refresh",
        ),
        Function::new(
            "refresh_grains",
            "**kwargs",
            refresh_grains,
            "Computes the grains again, and the pillar unless refresh_pillar=False.",
            "saltutil.refresh_grains",
        ),
        Function::new(
            "refresh_modules",
            "**kwargs",
            refresh_modules,
            "Renews what modules see; with async=False waits for it.",
            "saltutil.refresh_modules",
        ),
        Function::new(
            "refresh_pillar",
            REFRESH_PILLAR,
            refresh_pillar,
            "Asks the master for the pillar again; wait returns when it is there.",
            "saltutil.refresh_pillar wait=True",
        ),
        Function::new(
            "regen_keys",
            "",
            regen_keys,
            "Removes the minion's keys and the master's it knows; new ones are made when the \
             minion starts again, and have to be accepted.",
            "saltutil.regen_keys",
        ),
        Function::new(
            "revoke_auth",
            "preserve_minion_cache=False",
            revoke_auth,
            "Asks the master to forget this minion's key.",
            "saltutil.revoke_auth",
        ),
        Function::new("running", "", running, "Lists the running jobs.", "saltutil.running"),
        Function::new(
            "signal_job",
            "jid, sig",
            |ctx, args| signal(ctx, &args.text("jid"), args.int("sig")?),
            "Sends a signal to a job.",
            "saltutil.signal_job 20260102030405000678 15",
        ),
        sync!("sync_all"),
        sync!("sync_beacons"),
        sync!("sync_clouds"),
        sync!("sync_engines"),
        sync!("sync_executors"),
        sync!("sync_grains"),
        sync!("sync_log_handlers"),
        sync!("sync_matchers"),
        sync!("sync_modules"),
        sync!("sync_output"),
        sync!("sync_outputters"),
        sync!("sync_pillar"),
        sync!("sync_proxymodules"),
        sync!("sync_renderers"),
        sync!("sync_returners"),
        sync!("sync_sdb"),
        sync!("sync_serializers"),
        sync!("sync_states"),
        sync!("sync_thorium"),
        sync!("sync_utils"),
        Function::new(
            "term_all_jobs",
            "",
            |ctx, _| signal_all(ctx, 15),
            "Sends SIGTERM to all jobs.",
            "saltutil.term_all_jobs",
        ),
        Function::new(
            "term_job",
            "jid",
            |ctx, args| signal(ctx, &args.text("jid"), 15),
            "Sends SIGTERM to a job: its programs may clean up, and it returns nothing.",
            "saltutil.term_job 20260102030405000678",
        ),
    ],
};

const REFRESH_PILLAR: &str = "wait=False, timeout=30, clean_cache=True";

/// The running jobs without the one that asks.
fn others(ctx: &Context<'_>) -> Vec<Map> {
    let own = ctx.job().jid();
    let mut loads = ctx.host().jobs().running();
    loads.retain(|load| own.is_empty() || load.get_str("jid") != Some(own));
    loads
}

fn running(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(Value::List(others(ctx).into_iter().map(Value::Map).collect()))
}

fn is_running(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let pattern = Glob::new(&args.text("fun"));
    let mut loads = others(ctx);
    loads.retain(|load| load.get("fun").is_some_and(|fun| pattern.matches(&to_text(fun))));
    Ok(Value::List(loads.into_iter().map(Value::Map).collect()))
}

fn find_job(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let jid = args.text("jid");
    let found = others(ctx).into_iter().find(|load| load.get_str("jid") == Some(jid.as_str()));
    Ok(Value::Map(found.unwrap_or_default()))
}

fn signal(ctx: &Context<'_>, jid: &str, signal: i64) -> Result<Value, Error> {
    let number = i32::try_from(signal)
        .ok()
        .filter(|s| (0..=64).contains(s))
        .ok_or_else(|| Error::invalid(format!("{signal} is no signal")))?;
    Ok(Value::from(match ctx.host().jobs().signal(jid, number) {
        Signalled::Sent(pid) => format!("Signal {signal} sent to job {jid} at pid {pid}"),
        Signalled::NoJob => String::new(),
        Signalled::Elsewhere(pid) => format!(
            "Job {jid} is one of several of process {pid} and was left alone; ask that minion by \
             way of its master"
        ),
    }))
}

fn signal_all(ctx: &Context<'_>, number: i64) -> Result<Value, Error> {
    let done: Result<Vec<Value>, Error> = others(ctx)
        .iter()
        .filter_map(|load| load.get_str("jid"))
        .map(|jid| signal(ctx, jid, number))
        .collect();
    done.map(Value::List)
}

fn cachedir(ctx: &Context<'_>) -> Result<PathBuf, Error> {
    ctx.opt_str("cachedir")
        .filter(|dir| Path::new(dir).is_absolute())
        .map(PathBuf::from)
        .ok_or_else(|| Error::exec("the option 'cachedir' is not set"))
}

fn find_cached_job(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let jid = args.text("jid");
    // The id becomes a part of a path.
    if saltern_base::Jid::parse(&jid).is_err() {
        return Err(Error::invalid(format!("'{jid}' is no job id")));
    }
    let dir = cachedir(ctx)?.join("minion_jobs").join(&jid);
    if !dir.is_dir() {
        return Ok(Value::from(if ctx.opt("cache_jobs").truthy() {
            format!("Local jobs cache directory {} not found", dir.display())
        } else {
            "Local jobs cache directory not found; you may need to enable cache_jobs on this minion"
                .to_owned()
        }));
    }
    let bytes = fs::read(dir.join("return.p"))?;
    let value = msgpack::from_file(&bytes)
        .map_err(|e| Error::exec(format!("the kept return of {jid} cannot be read: {e}")))?;
    Ok(value)
}

fn clear_job_cache(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let hours = u64::try_from(args.int("hours")?).unwrap_or(0);
    let limit = SystemTime::now().checked_sub(Duration::from_secs(hours.saturating_mul(3600)));
    let dir = cachedir(ctx)?.join("minion_jobs");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let old = entry.metadata().and_then(|m| m.modified()).is_ok_and(|t| Some(t) < limit);
        if old && let Err(error) = fs::remove_dir_all(entry.path()) {
            log::error!("{} cannot be removed: {error}", entry.path().display());
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn clear_cache(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let root = cachedir(ctx)?;
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                // Running jobs, this one among them, keep their files.
                if path != root.join("proc") {
                    todo.push(path);
                }
            } else if let Err(error) = fs::remove_file(&path) {
                log::error!("{} cannot be removed: {error}", path.display());
                return Ok(Value::Bool(false));
            }
        }
    }
    Ok(Value::Bool(true))
}

fn refresh_pillar(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let done = ctx.host().refresh(Refresh::Pillar, args.truthy("wait"));
    if !done {
        log::warn!("The pillar was not refreshed");
    }
    Ok(Value::Bool(done))
}

fn refresh_grains(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut kwargs = clean_kwargs(args.kwargs);
    let with_pillar = kwargs.remove("refresh_pillar").is_none_or(|v| v.truthy());
    kwargs.remove("clean_pillar_cache");
    if !kwargs.is_empty() {
        let given: Vec<String> =
            kwargs.iter().map(|(k, v)| format!("{}={}", to_text(k), to_text(v))).collect();
        return Err(Error::invalid(format!(
            "The following keyword arguments are not valid: {}",
            given.join(", ")
        )));
    }
    ctx.host().refresh(Refresh::Grains, true);
    if with_pillar {
        ctx.host().refresh(Refresh::Pillar, false);
    }
    Ok(Value::Bool(true))
}

fn refresh_modules(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let wait = args.kwargs.get("async").is_some_and(|v| !v.truthy());
    Ok(Value::Bool(ctx.host().refresh(Refresh::Modules, wait)))
}

/// Nothing is copied from the file server. Said once in the log when there would be something.
fn sync(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let name = ctx.outer_call().fun.rsplit('.').next().unwrap_or_default();
    log::debug!("{name}: extension modules in Python are not supported, nothing is copied");
    if args.truthy("refresh") && matches!(name, "sync_all" | "sync_grains" | "sync_pillar") {
        ctx.host().refresh(Refresh::Pillar, false);
    }
    if name != "sync_all" {
        return Ok(Value::List(Vec::new()));
    }
    let kinds = [
        "clouds",
        "beacons",
        "modules",
        "states",
        "sdb",
        "grains",
        "renderers",
        "returners",
        "output",
        "utils",
        "log_handlers",
        "executors",
        "proxymodules",
        "engines",
        "thorium",
        "serializers",
        "matchers",
    ];
    let more = ctx.host().is_local().then_some("pillar");
    Ok(kinds.into_iter().chain(more).map(|kind| (kind, Value::List(Vec::new()))).collect())
}

fn regen_keys(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let dir = ctx.opt_str("pki_dir").ok_or_else(|| Error::exec("pki_dir is not set"))?;
    for name in ["minion.pem", "minion.pub", "minion_master.pub"] {
        match fs::remove_file(Path::new(&dir).join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::exec(format!("{dir}/{name} cannot be removed: {e}")));
            }
            _ => {}
        }
    }
    Ok(Value::Nil)
}

fn revoke_auth(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let load = Map::from([
        ("cmd", Value::from("revoke_auth")),
        ("preserve_minion_cache", Value::Bool(args.truthy("preserve_minion_cache"))),
    ]);
    match ctx.host().request(load, None) {
        Ok(_) => Ok(Value::Bool(true)),
        Err(error) => {
            log::error!("The key was not revoked: {error}");
            Ok(Value::Bool(false))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use saltern_base::Jid;
    use saltern_value::pyrepr::repr;

    use super::*;
    use crate::call::Call;
    use crate::host::Host;
    use crate::testing::{TestHost, run_call, run_on};

    const ONE: &str = "20260102030405000678";
    const TWO: &str = "20260102030405000679";

    #[test]
    fn running_jobs_are_found_and_ended() {
        let host = Arc::new(TestHost::new());
        let load = Map::from([("fun", "test.sleep"), ("tgt", "*")]);
        let one = host.jobs().start(&Jid::parse(ONE).unwrap(), &load).unwrap();
        let two = Jid::parse(TWO).unwrap();
        let _asking = host.jobs().start(&two, &Map::new()).unwrap();
        let mut call = Call::new("saltutil.running", Vec::new(), Map::new());
        call.jid = Some(two);
        let list = run_call(&host, &call).value;
        assert_eq!(list.as_list().unwrap().len(), 1, "the job that asks is not listed");
        assert_eq!(list.as_list().unwrap()[0].get("fun"), Some(&Value::from("test.sleep")));
        let found = run_on(&host, "saltutil.find_job", &[&format!("'{ONE}'")]).value;
        assert_eq!(found.get("tgt"), Some(&Value::from("*")));
        assert_eq!(repr(&run_on(&host, "saltutil.find_job", &["'123'"]).value), "{}");
        let is = run_on(&host, "saltutil.is_running", &["test.*"]).value;
        assert_eq!(is.as_list().unwrap().len(), 1);
        let killed = run_on(&host, "saltutil.term_job", &[&format!("'{ONE}'")]).value;
        let expected = format!("Signal 15 sent to job {ONE} at pid {}", std::process::id());
        assert_eq!(killed, Value::from(expected));
        assert!(one.was_killed());
        assert_eq!(repr(&run_on(&host, "saltutil.kill_job", &["'1'"]).value), "''");
    }

    #[test]
    fn the_cache_is_cleared_but_for_running_jobs() {
        let host = Arc::new(TestHost::new());
        let file = host.dir.file("cache/files/base/x", "x");
        let _job = host.jobs().start(&Jid::parse(ONE).unwrap(), &Map::new()).unwrap();
        assert_eq!(repr(&run_on(&host, "saltutil.clear_cache", &[]).value), "True");
        assert!(!Path::new(&file).exists());
        assert!(Path::new(&host.dir.join("cache/proc")).join(ONE).exists());
    }

    #[test]
    fn refreshing_and_syncing() {
        let host = Arc::new(TestHost::new());
        assert_eq!(repr(&run_on(&host, "saltutil.refresh_pillar", &[]).value), "True");
        run_on(&host, "saltutil.refresh_grains", &["refresh_pillar=False"]);
        assert_eq!(*host.refreshed.lock().unwrap(), [Refresh::Pillar, Refresh::Grains]);
        let bad = run_on(&host, "saltutil.refresh_grains", &["x=1"]).value;
        assert!(to_text(&bad).contains("not valid: x=1"));
        assert_eq!(repr(&run_on(&host, "saltutil.sync_modules", &[]).value), "[]");
        let all = run_on(&host, "saltutil.sync_all", &[]).value;
        assert_eq!(all.get("grains"), Some(&Value::List(Vec::new())));
        let bad = run_on(&host, "saltutil.find_cached_job", &["../../etc/passwd"]).value;
        assert!(to_text(&bad).contains("is no job id"));
    }

    #[test]
    fn the_key_is_revoked_by_request() {
        let host = Arc::new(TestHost::new());
        host.answer(true);
        assert_eq!(repr(&run_on(&host, "saltutil.revoke_auth", &[]).value), "True");
        assert_eq!(host.requests.lock().unwrap()[0].get_str("cmd"), Some("revoke_auth"));
        assert_eq!(repr(&run_on(&host, "saltutil.revoke_auth", &[]).value), "False");
    }
}
