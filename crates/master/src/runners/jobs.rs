//! Runner `jobs`: what ran, what runs, and what came of it.

use std::collections::HashSet;

use saltern_base::Jid;
use saltern_store::jobs::{JobFilter, JobRecord, JobStore, StoredReturn};
use saltern_value::{Map, Value};

use super::binding::Signature;
use super::ping;
use super::{Body, Runner, RunnerCall, RunnerFuture};
use crate::jobs::describe;
use crate::when;

const LIST: Signature = Signature::of(
    &[],
    &[
        "ext_source",
        "outputter",
        "search_metadata",
        "search_function",
        "search_target",
        "start_time",
        "end_time",
        "display_progress",
    ],
);

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[
    Runner {
        name: "jobs.active",
        doc: "The jobs minions are busy with now, and who has answered.\n\n\
              CLI example: salt-run jobs.active",
        signature: Signature::of(&[], &["display_progress"]),
        body: Body::Async(active),
    },
    Runner {
        name: "jobs.master",
        doc: "The runners this master is busy with now.\n\nCLI example: salt-run jobs.master",
        signature: Signature::of(&[], &[]),
        body: Body::Blocking(master),
    },
    Runner {
        name: "jobs.lookup_jid",
        doc: "What the minions answered to a job; with missing=True also who did not.\n\n\
              CLI example: salt-run jobs.lookup_jid 20260102030405000678",
        signature: Signature::of(
            &["jid"],
            &["ext_source", "returned", "missing", "display_progress"],
        ),
        body: Body::Blocking(lookup_jid),
    },
    Runner {
        name: "jobs.list_job",
        doc: "One job: function, arguments, target, minions, answers.\n\n\
              CLI example: salt-run jobs.list_job 20260102030405000678",
        signature: Signature::of(&["jid"], &["ext_source", "display_progress"]),
        body: Body::Blocking(list_job),
    },
    Runner {
        name: "jobs.list_jobs",
        doc: "All jobs, or those that fit search_function, search_target (globs), \
              search_metadata, start_time and end_time.\n\n\
              CLI example: salt-run jobs.list_jobs search_function='test.*,cmd.run'",
        signature: LIST,
        body: Body::Blocking(list_jobs),
    },
    Runner {
        name: "jobs.list_jobs_filter",
        doc: "The last count jobs, oldest first; filter_find_job=False also shows the questions \
              of the tools.\n\nCLI example: salt-run jobs.list_jobs_filter 50",
        signature: Signature::of(
            &["count"],
            &["filter_find_job", "ext_source", "outputter", "display_progress"],
        ),
        body: Body::Blocking(list_jobs_filter),
    },
    Runner {
        name: "jobs.print_job",
        doc: "One job under its id, with its answers.\n\n\
              CLI example: salt-run jobs.print_job 20260102030405000678",
        signature: Signature::of(&["jid"], &["ext_source"]),
        body: Body::Blocking(print_job),
    },
    Runner {
        name: "jobs.last_run",
        doc: "The last job, or the last that fits metadata, function and target.\n\n\
              CLI example: salt-run jobs.last_run function='cmd.run'",
        signature: Signature::of(
            &[],
            &["ext_source", "outputter", "metadata", "function", "target", "display_progress"],
        ),
        body: Body::Blocking(last_run),
    },
    Runner {
        name: "jobs.exit_success",
        doc: "Which minions have answered a job with something true.\n\n\
              CLI example: salt-run jobs.exit_success 20260102030405000678",
        signature: Signature::of(&["jid"], &["ext_source"]),
        body: Body::Blocking(exit_success),
    },
];

/// A job as stored, or nothing when the text names none.
struct Found {
    jid: String,
    record: Option<JobRecord>,
    returns: Vec<StoredReturn>,
}

fn look_up(call: &RunnerCall) -> Result<Found, String> {
    let text = call.args.text("jid").ok_or("jid must be text")?;
    let Ok(jid) = Jid::parse(&text) else {
        return Ok(Found { jid: text, record: None, returns: Vec::new() });
    };
    let store = call.shared.jobs.store();
    let record = store.job(&jid).map_err(|e| e.to_string())?;
    let returns = store.returns(&jid).map_err(|e| e.to_string())?;
    Ok(Found { jid: text, record, returns })
}

impl Found {
    /// What a single job shows: description, minions, start time and answers.
    fn shown(&self) -> Map {
        let mut shown = match &self.record {
            None => Map::from([("Error", "Cannot contact returner or no job with this jid")]),
            Some(record) => {
                let mut shown = describe(&record.load);
                if !record.minions.is_empty() {
                    shown.insert("Minions", record.minions.clone());
                }
                shown
            }
        };
        let start = Jid::parse(&self.jid).map_or_else(|_| String::new(), |jid| jid.start_time());
        shown.insert("StartTime", start);
        shown.insert("Result", answers(&self.returns));
        if let Some(end) = self.record.as_ref().and_then(|r| r.endtime.clone()) {
            shown.insert("EndTime", end);
        }
        shown
    }
}

fn answers(returns: &[StoredReturn]) -> Value {
    returns.iter().map(|ret| (ret.minion.as_str(), Value::Map(ret.to_map()))).collect()
}

fn lookup_jid(call: &RunnerCall) -> Result<Value, String> {
    let found = look_up(call)?;
    let out = found.returns.first().and_then(|r| r.out.clone());
    let mut missing = Vec::new();
    if call.args.truth("missing", false) {
        let there: HashSet<&str> = found.returns.iter().map(|r| r.minion.as_str()).collect();
        let expected = found.record.iter().flat_map(|record| &record.minions);
        missing.extend(expected.filter(|id| !there.contains(id.as_str())).cloned());
    }
    let mut shown = Map::new();
    if call.args.truth("returned", true) {
        // Moved: they may be the largest thing that this master has in memory.
        shown.extend(found.returns.into_iter().map(|r| (r.minion, r.value)));
    }
    shown.extend(missing.into_iter().map(|id| (id, Value::from("Minion did not return"))));
    match out {
        Some(out) => Ok(Value::from_iter([("outputter", out.into()), ("data", Value::Map(shown))])),
        None => Ok(Value::Map(shown)),
    }
}

fn list_job(call: &RunnerCall) -> Result<Value, String> {
    let found = look_up(call)?;
    let mut shown = Map::from([("jid", found.jid.as_str())]);
    shown.extend(found.shown());
    Ok(Value::Map(shown))
}

fn print_job(call: &RunnerCall) -> Result<Value, String> {
    let found = look_up(call)?;
    Ok(Value::from_iter([(found.jid.as_str(), Value::Map(found.shown()))]))
}

fn exit_success(call: &RunnerCall) -> Result<Value, String> {
    let found = look_up(call)?;
    let mut shown = Map::new();
    for id in found.record.iter().flat_map(|record| &record.minions) {
        shown.insert(id.as_str(), false);
    }
    for ret in &found.returns {
        let good = ret.value.truthy();
        if good || shown.contains_key(&ret.minion) {
            shown.insert(ret.minion.as_str(), good);
        }
    }
    Ok(Value::Map(shown))
}

/// The filter in the arguments; the names of the three search arguments differ by function.
fn filter(call: &RunnerCall, function: &str, target: &str) -> Result<JobFilter, String> {
    let time = |name: &str| -> Result<_, String> {
        call.args.text(name).map(|text| when::parse(&text)).transpose()
    };
    Ok(JobFilter {
        functions: words(call.args.get(function)),
        targets: words(call.args.get(target)),
        metadata: None,
        start: time("start_time")?,
        end: time("end_time")?,
        limit: None,
    })
}

/// A list, or text with commas, as words.
fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::List(items)) => {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(Value::Str(text)) => text.split(',').map(|w| w.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// Salt takes a job when any one of the given members of its metadata is equal.
fn metadata_fits(record: &JobRecord, wanted: Option<&Map>) -> bool {
    let Some(wanted) = wanted else { return true };
    let shown = describe(&record.load);
    let Some(metadata) = shown.get("Metadata").and_then(Value::as_map) else { return false };
    wanted.iter().any(|(key, value)| metadata.get_value(key) == Some(value))
}

fn list(store: &JobStore, filter: &JobFilter) -> Result<Vec<JobRecord>, String> {
    store.list(filter).map_err(|e| e.to_string())
}

fn list_jobs(call: &RunnerCall) -> Result<Value, String> {
    let filter = filter(call, "search_function", "search_target")?;
    let wanted = call.args.get("search_metadata").and_then(Value::as_map);
    let jobs = list(call.shared.jobs.store(), &filter)?;
    let shown = jobs
        .iter()
        .filter(|record| metadata_fits(record, wanted))
        .map(|record| {
            let mut shown = describe(&record.load);
            shown.insert("StartTime", record.jid.start_time());
            if let Some(end) = &record.endtime {
                shown.insert("EndTime", end);
            }
            (record.jid.as_str(), Value::Map(shown))
        })
        .collect();
    Ok(with_outputter(call, shown))
}

fn list_jobs_filter(call: &RunnerCall) -> Result<Value, String> {
    let count = call.args.get("count").and_then(Value::as_int).unwrap_or(0);
    let count = usize::try_from(count).map_err(|_| "count must not be negative".to_owned())?;
    let skip_find_job = call.args.truth("filter_find_job", true);
    let mut jobs = list(call.shared.jobs.store(), &JobFilter::default())?;
    jobs.retain(|job| !(skip_find_job && job.load.get_str("fun") == Some("saltutil.find_job")));
    let first = jobs.len().saturating_sub(count);
    let shown = jobs
        .iter()
        .skip(first)
        .map(|record| {
            let mut shown = describe(&record.load);
            shown.insert("JID", record.jid.as_str());
            shown.insert("StartTime", record.jid.start_time());
            Value::Map(shown)
        })
        .collect();
    Ok(with_outputter(call, Value::List(shown)))
}

fn with_outputter(call: &RunnerCall, data: Value) -> Value {
    match call.args.text("outputter") {
        Some(outputter) => Value::from_iter([("outputter", outputter.into()), ("data", data)]),
        None => data,
    }
}

fn last_run(call: &RunnerCall) -> Result<Value, String> {
    let wanted = match call.args.get("metadata") {
        None => None,
        Some(Value::Map(wanted)) => Some(wanted),
        Some(_) => return Ok(false.into()),
    };
    let mut filter = filter(call, "function", "target")?;
    if wanted.is_none() {
        filter.limit = Some(1);
    }
    let mut jobs = list(call.shared.jobs.store(), &filter)?;
    jobs.retain(|record| metadata_fits(record, wanted));
    let Some(record) = jobs.into_iter().max_by(|a, b| a.jid.cmp(&b.jid)) else {
        return Ok(false.into());
    };
    let returns = call.shared.jobs.store().returns(&record.jid).map_err(|e| e.to_string())?;
    let found = Found { jid: record.jid.to_string(), record: Some(record), returns };
    Ok(Value::from_iter([(found.jid.as_str(), Value::Map(found.shown()))]))
}

fn master(call: &RunnerCall) -> Result<Value, String> {
    Ok(Value::List(call.shared.running.list().into_iter().map(Value::Map).collect()))
}

fn active(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let busy = ping::ask(
            &call.shared,
            "*".into(),
            "glob",
            ("saltutil.running", Vec::new()),
            None,
            None,
        )
        .await?;
        let mut shown = Map::new();
        for (id, jobs) in busy.answers {
            for job in jobs.get("return").and_then(Value::as_list).unwrap_or_default() {
                let Some(job) = job.as_map() else { continue };
                let Some(jid) = job.get_str("jid") else { continue };
                let running =
                    Value::from_iter([(id.as_str(), job.get("pid").cloned().unwrap_or_default())]);
                if !shown.contains_key(jid) {
                    let mut described = describe(job);
                    let start = Jid::parse(jid).map_or_else(|_| String::new(), |j| j.start_time());
                    described.insert("StartTime", start);
                    described.insert("Running", Value::List(Vec::new()));
                    described.insert("Returned", Value::List(Vec::new()));
                    shown.insert(jid, described);
                }
                if let Some(Value::List(list)) = shown
                    .get_mut(jid)
                    .and_then(Value::as_map_mut)
                    .and_then(|described| described.get_mut("Running"))
                {
                    list.push(running);
                }
            }
        }
        add_returned(&call, &mut shown).await;
        Ok(Value::Map(shown))
    })
}

/// Says of every job who has answered it already.
async fn add_returned(call: &RunnerCall, shown: &mut Map) {
    for (jid, described) in shown.iter_mut() {
        let Some(jid) = jid.as_str().and_then(|jid| Jid::parse(jid).ok()) else { continue };
        let store = call.shared.jobs.store().clone();
        let returned = tokio::task::spawn_blocking(move || store.returns(&jid)).await;
        let Ok(Ok(returned)) = returned else { continue };
        let ids: Vec<String> = returned.into_iter().map(|ret| ret.minion).collect();
        if let Some(described) = described.as_map_mut() {
            described.insert("Returned", ids);
        }
    }
}
