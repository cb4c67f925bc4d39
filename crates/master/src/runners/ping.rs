//! Asks minions something from inside the master and waits for the answers, as the `salt` command
//! does: until the time-out, then as long as the silent ones say the job still runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use saltern_base::Jid;
use saltern_client::{Collector, Step};
use saltern_event::{Subscription, tags};
use saltern_value::{Map, Value};
use tokio::time::timeout_at;

use crate::context::Shared;
use crate::publish::{PublishError, new_job};

/// What became of a question.
#[derive(Default)]
pub(crate) struct Asked {
    /// Return loads by minion.
    pub(crate) answers: BTreeMap<String, Map>,
    /// Those who did not answer.
    pub(crate) silent: Vec<String>,
}

/// Asks the target to run `fun` with these arguments. The times default to the options `timeout` and
/// `gather_job_timeout`.
///
/// # Errors
/// When the job could not be published; a target nobody matches is no error.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    tgt: Value,
    tgt_type: &str,
    (fun, arg): (&str, Vec<Value>),
    timeout: Option<Duration>,
    gather: Option<Duration>,
) -> Result<Asked, String> {
    let timeout = timeout.unwrap_or_else(|| seconds(shared.opts.timeout));
    let gather = gather.unwrap_or_else(|| seconds(shared.opts.gather_job_timeout));
    // Listen first: an answer can be faster than the way back from publishing.
    let mut returns = shared.bus.subscribe("salt/job/");
    let Some((jid, minions)) = publish(shared, tgt, tgt_type, fun, arg).await? else {
        return Ok(Asked::default());
    };
    let mut question = None;
    let mut asked = Asked::default();
    let mut collector = Collector::new(minions, timeout, gather, Instant::now());
    loop {
        match collector.step(Instant::now()) {
            Step::Wait(until) => {
                let event = timeout_at(until.into(), next_return(&mut returns)).await;
                match event {
                    Ok(Some((of, id, load))) if of == jid.as_str() => {
                        if collector.returned(&id, Instant::now()) {
                            asked.answers.insert(id, load);
                        }
                    }
                    Ok(Some((of, id, load))) if Some(of.as_str()) == question.as_deref() => {
                        let running = load.get("return").is_some_and(Value::truthy);
                        collector.answered(&id, running);
                    }
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => return Err("the event bus is closed".to_owned()),
                }
            }
            Step::Ask(silent) => {
                let silent = silent.into_iter().map(Value::from).collect();
                let about = vec![Value::from(jid.as_str())];
                let published =
                    publish(shared, Value::List(silent), "list", "saltutil.find_job", about)
                        .await?;
                question = published.map(|(jid, _)| jid.to_string());
                collector.asked(Instant::now());
            }
            Step::Finished(silent) => {
                asked.silent = silent;
                return Ok(asked);
            }
        }
    }
}

fn seconds(option: i64) -> Duration {
    Duration::from_secs(u64::try_from(option).unwrap_or(0))
}

/// The job of the next return that arrives, the minion it comes from, and its load.
async fn next_return(events: &mut Subscription) -> Option<(String, String, Map)> {
    loop {
        let event = events.next().await?;
        let (Some(jid), Some(id)) = (event.data.get_str("jid"), event.data.get_str("id")) else {
            continue;
        };
        if event.tag == tags::job_return(jid, id) {
            return Some((jid.to_owned(), id.to_owned(), event.data.clone()));
        }
    }
}

/// Publishes; `None` when nobody matches.
async fn publish(
    shared: &Arc<Shared>,
    tgt: Value,
    tgt_type: &str,
    fun: &str,
    arg: Vec<Value>,
) -> Result<Option<(Jid, Vec<String>)>, String> {
    let mut job = new_job(tgt, tgt_type, fun, &shared.opts.user);
    job.arg = arg;
    match shared.publish(job).await {
        Ok(published) => Ok(Some((published.jid, published.minions))),
        Err(PublishError::Nobody(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
