//! `schedule`: the jobs the minion runs by itself. The functions talk to the running minion over
//! its event bus, as Salt's do, so that they work in a job and in `salt-call` alike.

use std::time::{Duration, Instant};

use saltern_value::{Map, Value, yaml};

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// How long the running minion may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// After this time without an answer the request is repeated.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

const COMPLETE: &str = "/salt/minion/minion_schedule_";

/// What a job's definition may consist of, beside the function.
const KEYS: [&str; 22] = [
    "seconds",
    "minutes",
    "hours",
    "days",
    "when",
    "once",
    "once_fmt",
    "cron",
    "splay",
    "range",
    "after",
    "until",
    "maxrunning",
    "enabled",
    "return_job",
    "metadata",
    "run_on_start",
    "jid_include",
    "returner",
    "return_config",
    "return_kwargs",
    "skip_during_range",
];

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "schedule",
    doc: "Jobs the minion runs by itself at set times.",
    functions: &[
        Function::new(
            "add",
            "name, **kwargs",
            |ctx, args| put(ctx, &args, "add"),
            "Adds a job: function, job_args, job_kwargs, and when it runs: seconds, minutes, \
             hours, days, cron, when or once. persist=False forgets it at the next start.",
            "schedule.add backup function=cmd.run job_args='[/usr/local/bin/backup]' hours=6",
        ),
        Function::new(
            "build_schedule_item",
            "name, **kwargs",
            |_, args| Ok(definition(&args).map_or_else(failed, Value::Map)),
            "Shows what schedule.add would add.",
            "schedule.build_schedule_item backup function=test.ping seconds=3600",
        ),
        Function::new(
            "delete",
            "name, persist=True, test=False",
            delete,
            "Removes a job.",
            "schedule.delete backup",
        ),
        Function::new(
            "disable",
            "persist=True, test=False",
            |ctx, args| switch_all(ctx, &args, false),
            "Runs no job until schedule.enable.",
            "schedule.disable",
        ),
        Function::new(
            "disable_job",
            "name, persist=True, test=False",
            |ctx, args| switch_one(ctx, &args, false),
            "Keeps a job from running.",
            "schedule.disable_job backup",
        ),
        Function::new(
            "enable",
            "persist=True, test=False",
            |ctx, args| switch_all(ctx, &args, true),
            "Runs jobs again.",
            "schedule.enable",
        ),
        Function::new(
            "enable_job",
            "name, persist=True, test=False",
            |ctx, args| switch_one(ctx, &args, true),
            "Has a job run again.",
            "schedule.enable_job backup",
        ),
        Function::new(
            "is_enabled",
            "name=None",
            is_enabled,
            "Whether jobs run at all; with a name, that job's definition.",
            "schedule.is_enabled backup",
        ),
        Function::new(
            "job_status",
            "name",
            job_status,
            "The definition of a job as it runs.",
            "schedule.job_status backup",
        ),
        Function::new(
            "list",
            "show_all=False, show_disabled=True, where=None, return_yaml=True",
            list,
            "The jobs, as YAML. where=opts or where=pillar shows one side only.",
            "schedule.list",
        ),
        Function::new(
            "modify",
            "name, **kwargs",
            |ctx, args| put(ctx, &args, "modify"),
            "Replaces a job.",
            "schedule.modify backup function=test.ping seconds=60",
        ),
        Function::new(
            "purge",
            "persist=True, test=False",
            purge,
            "Removes all jobs.",
            "schedule.purge",
        ),
        Function::new(
            "run_job",
            "name, force=False",
            run_job,
            "Runs a job now; force=True also when it is disabled.",
            "schedule.run_job backup",
        ),
        Function::new(
            "save",
            "test=False",
            save,
            "Keeps the jobs that are not from the pillar over a restart.",
            "schedule.save",
        ),
        Function::new(
            "show_next_fire_time",
            "name",
            next_fire_time,
            "When a job runs next.",
            "schedule.show_next_fire_time backup",
        ),
    ],
};

/// What Salt's functions of this module return.
fn report(result: bool, comment: impl Into<String>, changes: Map) -> Value {
    Value::Map(Map::from([
        ("comment", Value::from(comment.into())),
        ("result", Value::Bool(result)),
        ("changes", Value::Map(changes)),
    ]))
}

fn failed(comment: String) -> Value {
    report(false, comment, Map::new())
}

fn done(comment: String, name: &str, change: &str) -> Value {
    report(true, comment, Map::from([(name, change)]))
}

/// Sends a request to the running minion and waits for its answer with this member.
fn ask(ctx: &Context<'_>, request: Map, word: &str, member: &str) -> Result<Value, Error> {
    let silent = || Error::exec("The minion does not answer on its event bus; is it running?");
    let mut events = ctx.host().events()?;
    let tag = format!("{COMPLETE}{word}");
    let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
    while start.elapsed() < PATIENCE {
        if !ctx.host().fire_event("manage_schedule", request.clone()) {
            return Err(silent());
        }
        let end = Instant::now() + pause;
        // The bus may not have let us in yet when it spoke; none of the requests does harm twice.
        pause *= 2;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some((heard, mut data)) = events.next(Some(left))? else { break };
            if heard == tag {
                return Ok(data.remove(member).unwrap_or_default());
            }
        }
    }
    Err(silent())
}

fn current(ctx: &Context<'_>, side: Option<&str>) -> Result<Map, Error> {
    let request =
        Map::from([("func", Value::from("list")), ("where", side.map_or(Value::Nil, Value::from))]);
    match ask(ctx, request, "list_complete", "schedule")? {
        Value::Map(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

fn change(ctx: &Context<'_>, func: &str, word: &str, more: Map) -> Result<Map, Error> {
    let mut request = Map::from([("func", func)]);
    request.extend(more);
    match ask(ctx, request, word, "schedule")? {
        Value::Map(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// The members of the schedule that are jobs.
fn is_job(name: &str, value: &Value) -> bool {
    value.as_map().is_some() && !["skip_during_range"].contains(&name)
}

fn definition(args: &Bound) -> Result<Map, String> {
    let all = &args.kwargs;
    let function = all.get_str("function").ok_or("function=module.function is missing")?;
    let mut job = Map::from([("function", function)]);
    for (given, key, list) in [("job_args", "args", true), ("job_kwargs", "kwargs", false)] {
        match all.get(given) {
            None | Some(Value::Nil) => {}
            Some(value @ Value::List(_)) if list => drop(job.insert(key, value.clone())),
            Some(value @ Value::Map(_)) if !list => drop(job.insert(key, value.clone())),
            Some(_) if list => return Err(format!("{given} must be a list")),
            Some(_) => return Err(format!("{given} must be a mapping")),
        }
    }
    job.insert("maxrunning", 1);
    job.insert("name", args.text("name"));
    job.insert("enabled", true);
    job.insert("jid_include", true);
    for key in KEYS {
        if let Some(value) = all.get(key) {
            job.insert(key, value.clone());
        }
    }
    let has = |keys: &[&str]| keys.iter().any(|key| job.contains_key(key));
    let times = [
        has(&["seconds", "minutes", "hours", "days"]),
        has(&["when"]),
        has(&["cron"]),
        has(&["once"]),
    ];
    if times.iter().filter(|given| **given).count() > 1 {
        return Err("Only one of an interval, when, cron and once can be given".to_owned());
    }
    Ok(job)
}

fn put(ctx: &Context<'_>, args: &Bound, func: &str) -> Result<Value, Error> {
    let name = args.text("name");
    let jobs = current(ctx, None)?;
    match (func, jobs.contains_key(name.as_str())) {
        ("add", true) => return Ok(failed(format!("The schedule has a job {name} already"))),
        ("modify", false) => return Ok(failed(format!("The schedule has no job {name}"))),
        _ => {}
    }
    let job = match definition(args) {
        Ok(job) => job,
        Err(why) => return Ok(failed(why)),
    };
    let option = |key: &str, default| args.kwargs.get(key).map_or(default, Value::truthy);
    let verb = if func == "add" { "added" } else { "modified" };
    if option("test", false) {
        return Ok(report(true, format!("Job {name} would be {verb}"), Map::new()));
    }
    let jobs = Map::from([(name.as_str(), Value::Map(job))]);
    let request = Map::from([
        ("name", Value::from(name.as_str())),
        ("schedule", Value::Map(jobs)),
        ("persist", Value::Bool(option("persist", true))),
    ]);
    let after = change(ctx, func, "add_complete", request)?;
    if after.contains_key(name.as_str()) {
        Ok(done(format!("Job {name} is {verb}"), &name, verb))
    } else {
        Ok(failed(format!("The minion did not take the job {name}")))
    }
}

fn delete(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let name = args.text("name");
    if !current(ctx, Some("opts"))?.contains_key(name.as_str()) {
        let elsewhere = current(ctx, Some("pillar"))?.contains_key(name.as_str());
        let why = if elsewhere { ": it is in the pillar" } else { "" };
        return Ok(failed(format!("Job {name} cannot be deleted here{why}")));
    }
    if args.truthy("test") {
        return Ok(report(true, format!("Job {name} would be deleted"), Map::new()));
    }
    let request = Map::from([
        ("name", Value::from(name.as_str())),
        ("persist", Value::Bool(args.truthy("persist"))),
    ]);
    change(ctx, "delete", "delete_complete", request)?;
    Ok(done(format!("Job {name} is deleted"), &name, "removed"))
}

fn purge(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let jobs = current(ctx, Some("opts"))?;
    let names: Vec<&str> = jobs
        .iter()
        .filter_map(|(name, value)| name.as_str().filter(|n| is_job(n, value)))
        .filter(|name| !name.starts_with("__"))
        .collect();
    let mut changes = Map::new();
    let mut comments = Vec::new();
    for name in names {
        if args.truthy("test") {
            comments.push(Value::from(format!("Job {name} would be deleted")));
            continue;
        }
        let request = Map::from([
            ("name", Value::from(name)),
            ("persist", Value::Bool(args.truthy("persist"))),
        ]);
        change(ctx, "delete", "delete_complete", request)?;
        comments.push(Value::from(format!("Job {name} is deleted")));
        changes.insert(name, "removed");
    }
    Ok(Value::Map(Map::from([
        ("comment", Value::List(comments)),
        ("result", Value::Bool(true)),
        ("changes", Value::Map(changes)),
    ])))
}

fn switch_all(ctx: &Context<'_>, args: &Bound, on: bool) -> Result<Value, Error> {
    let (func, word, state) = if on {
        ("enable", "enabled_complete", "enabled")
    } else {
        ("disable", "disabled_complete", "disabled")
    };
    if args.truthy("test") {
        return Ok(report(true, format!("The schedule would be {state}"), Map::new()));
    }
    let request = Map::from([("persist", args.truthy("persist"))]);
    let after = change(ctx, func, word, request)?;
    if after.get("enabled").map(Value::truthy) == Some(on) {
        Ok(done(format!("The schedule is {state}"), "schedule", state))
    } else {
        Ok(failed(format!("The schedule could not be {state}")))
    }
}

fn switch_one(ctx: &Context<'_>, args: &Bound, on: bool) -> Result<Value, Error> {
    let name = args.text("name");
    let (func, word, state) = if on {
        ("enable_job", "enabled_job_complete", "enabled")
    } else {
        ("disable_job", "disabled_job_complete", "disabled")
    };
    if !current(ctx, None)?.contains_key(name.as_str()) {
        return Ok(failed(format!("The schedule has no job {name}")));
    }
    if args.truthy("test") {
        return Ok(report(true, format!("Job {name} would be {state}"), Map::new()));
    }
    let request = Map::from([
        ("name", Value::from(name.as_str())),
        ("persist", Value::Bool(args.truthy("persist"))),
    ]);
    let after = change(ctx, func, word, request)?;
    let now = after.get(name.as_str()).and_then(|job| job.get("enabled")).map(Value::truthy);
    if now == Some(on) {
        Ok(done(format!("Job {name} is {state}"), &name, state))
    } else {
        Ok(failed(format!("Job {name} could not be {state}")))
    }
}

fn shown(ctx: &Context<'_>, all: bool, disabled: bool, side: Option<&str>) -> Result<Map, Error> {
    let mut jobs = Map::new();
    for (name, value) in current(ctx, side)?.iter() {
        let Some(name) = name.as_str() else { continue };
        if name.starts_with("__") && !all {
            continue;
        }
        let mut value = value.clone();
        if let Value::Map(job) = &mut value {
            if !job.contains_key("enabled") {
                job.insert("enabled", true);
            }
            if !disabled && !job.get("enabled").is_some_and(Value::truthy) {
                continue;
            }
        }
        jobs.insert(name, value);
    }
    Ok(jobs)
}

fn list(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let side = args.opt_text("where");
    let jobs = shown(ctx, args.truthy("show_all"), args.truthy("show_disabled"), side.as_deref())?;
    if args.truthy("return_yaml") {
        let whole = Value::Map(Map::from([("schedule", Value::Map(jobs))]));
        return Ok(Value::from(yaml::dump(&whole)));
    }
    Ok(Value::Map(jobs))
}

fn is_enabled(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let jobs = shown(ctx, false, true, None)?;
    Ok(match args.opt_text("name") {
        None => jobs.get("enabled").cloned().unwrap_or(Value::Bool(true)),
        Some(name) => jobs.get(name.as_str()).cloned().unwrap_or_else(|| Value::Map(Map::new())),
    })
}

fn run_job(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let name = args.text("name");
    let jobs = current(ctx, None)?;
    let Some(job) = jobs.get(name.as_str()) else {
        return Ok(failed(format!("The schedule has no job {name}")));
    };
    if job.get("enabled").is_some_and(|on| !on.truthy()) && !args.truthy("force") {
        return Ok(report(true, format!("Job {name} is disabled; force=True runs it"), Map::new()));
    }
    let request = Map::from([("func", "run_job"), ("name", name.as_str())]);
    let fired = ctx.host().fire_event("manage_schedule", request);
    Ok(if fired {
        report(true, format!("Job {name} is started"), Map::new())
    } else {
        failed(format!("Job {name} could not be started: the minion has no event bus"))
    })
}

fn save(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    if args.truthy("test") {
        return Ok(report(true, "The schedule would be saved", Map::new()));
    }
    let saved = ask(ctx, Map::from([("func", "save_schedule")]), "saved", "complete")?;
    Ok(if saved.truthy() {
        report(true, "The jobs that are not from the pillar are saved", Map::new())
    } else {
        failed("The schedule could not be saved; the minion's log says why".to_owned())
    })
}

fn next_fire_time(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let request = Map::from([
        ("func", Value::from("get_next_fire_time")),
        ("name", Value::from(args.text("name"))),
    ]);
    let next = ask(ctx, request, "next_fire_time_complete", "next_fire_time")?;
    Ok(Value::Map(Map::from([("result", Value::Bool(true)), ("next_fire_time", next)])))
}

fn job_status(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let request =
        Map::from([("func", Value::from("job_status")), ("name", Value::from(args.text("name")))]);
    ask(ctx, request, "job_status_complete", "data")
}
