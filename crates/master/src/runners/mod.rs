//! Runners: functions that run inside the master for its administrator. One file per runner; each
//! lists its functions, and this file finds, binds and runs them and announces them on the bus.

pub(crate) mod binding;
mod cache;
mod config;
mod doc;
mod event;
mod fileserver;
mod jobs;
mod manage;
mod manage_failover;
pub(crate) mod manage_health;
mod master;
mod mine;
mod pillar;
pub(crate) mod ping;
mod test;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use saltern_base::jid::Jid;
use saltern_value::{Map, Value};

use crate::context::Shared;
use crate::counters::Refusal;
use binding::{Arguments, Bound, Signature};

/// The answer of a runner that waits.
pub(crate) type RunnerFuture = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// How a runner runs.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// On a blocking thread: it reads files or the job cache.
    Blocking(fn(&RunnerCall) -> Result<Value, String>),
    /// On the event loop: it waits for minions or time.
    Async(fn(RunnerCall) -> RunnerFuture),
}

/// One runner function.
pub(crate) struct Runner {
    /// `module.function`.
    pub(crate) name: &'static str,
    /// What it does, for `doc.runner`.
    pub(crate) doc: &'static str,
    /// Its parameters.
    pub(crate) signature: Signature,
    /// Its code.
    pub(crate) body: Body,
}

/// One call of a runner.
#[derive(Clone)]
pub(crate) struct RunnerCall {
    /// The master.
    pub(crate) shared: Arc<Shared>,
    /// The arguments by name.
    pub(crate) args: Bound,
    tag: String,
}

impl RunnerCall {
    /// Fires an event below the tag of this run.
    pub(crate) fn fire(&self, suffix: &str, data: Map) {
        self.shared.fire(&format!("{}/{suffix}", self.tag), data);
    }
}

/// What came of a run.
pub(crate) struct Finished {
    /// The value, or the sentence that says why there is none.
    pub(crate) value: Value,
    /// Whether the function ran and its result holds nothing failed.
    pub(crate) success: bool,
}

/// All runner functions.
pub(crate) fn all() -> impl Iterator<Item = &'static Runner> {
    [
        cache::RUNNERS,
        config::RUNNERS,
        doc::RUNNERS,
        event::RUNNERS,
        fileserver::RUNNERS,
        jobs::RUNNERS,
        manage::RUNNERS,
        manage_failover::RUNNERS,
        manage_health::RUNNERS,
        master::RUNNERS,
        mine::RUNNERS,
        pillar::RUNNERS,
        test::RUNNERS,
    ]
    .into_iter()
    .flatten()
}

/// The runner function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Runner> {
    all().find(|runner| runner.name == name)
}

/// Runs `fun` as `user` under `jid`, announces it before and after on the bus and records its
/// result in the job cache as Salt does.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    fun: &str,
    arguments: Arguments,
    user: &str,
    jid: &Jid,
) -> Finished {
    let tag = format!("salt/run/{jid}");
    let mut data = Map::from([
        ("fun", Value::from(format!("runner.{fun}"))),
        ("jid", jid.as_str().into()),
        ("user", user.into()),
        ("fun_args", arguments.shown()),
    ]);
    shared.fire(&format!("{tag}/new"), data.clone());
    let finished = call(shared, fun, arguments, tag.clone()).await;
    data.insert("return", finished.value.clone());
    data.insert("success", finished.success);
    if !finished.success {
        data.insert("retcode", 1);
    }
    if shared.opts.runner_returns {
        record(shared, jid, fun, user, &data).await;
    }
    shared.fire(&format!("{tag}/ret"), data);
    log::info!("Runner completed: {jid}");
    finished
}

async fn call(shared: &Arc<Shared>, fun: &str, arguments: Arguments, tag: String) -> Finished {
    let Some(runner) = find(fun) else {
        return Finished { value: format!("'{fun}' is not available.").into(), success: false };
    };
    let function = fun.rsplit('.').next().unwrap_or(fun);
    let args = match arguments.bind(function, &runner.signature) {
        Ok(args) => args,
        Err(why) => {
            let usage = format!("\nPassed invalid arguments: {why}\n\nUsage:\n{}", runner.doc);
            return Finished { value: usage.into(), success: false };
        }
    };
    let call = RunnerCall { shared: Arc::clone(shared), args, tag };
    let result = match runner.body {
        Body::Async(body) => body(call).await,
        Body::Blocking(body) => match tokio::task::spawn_blocking(move || body(&call)).await {
            Ok(result) => result,
            Err(_) => Err("it ended without a result; the log of the master says why".to_owned()),
        },
    };
    match result {
        Ok(value) => Finished { success: no_failure_in(&value), value },
        Err(why) => Finished {
            value: format!("Exception occurred in runner {fun}: {why}").into(),
            success: false,
        },
    }
}

/// Salt looks into results of the form `{data: {...}}`: one false member is a failed run.
fn no_failure_in(value: &Value) -> bool {
    let Some(data) = value.get("data").and_then(Value::as_map) else { return true };
    !data.values().any(|v| v == &Value::Bool(false))
}

async fn record(shared: &Arc<Shared>, jid: &Jid, fun: &str, user: &str, data: &Map) {
    let id = shared.opts.id.clone();
    let load = Map::from([
        ("id", Value::from(id.as_str())),
        ("tgt", id.as_str().into()),
        ("jid", jid.as_str().into()),
        ("return", Value::Map(data.clone())),
        ("fun", format!("runner.{fun}").into()),
        ("user", user.into()),
    ]);
    if let Err(why) = shared.jobs.record_unpublished(jid, &id, load).await {
        shared.counters.refuse(Refusal::NotKept, None, || format!("the result of {fun} ({why})"));
    }
}
