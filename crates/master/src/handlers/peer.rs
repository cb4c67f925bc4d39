//! Jobs that minions publish (`publish.publish`), where the option `peer` allows it, and the
//! returns of those jobs, for the minion that published them only.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use saltern_base::{Jid, MinionId};
use saltern_value::{Map, Value};
use saltern_wire::command::MinionPub;

use super::{Answer, Caller};
use crate::authz;
use crate::context::{Shared, lock};
use crate::counters::Refusal;
use crate::publish::{PublishError, new_job};

/// Jobs of minions that are remembered; the oldest are forgotten first.
const MAX_JOBS: usize = 10_000;

/// Which minion published which job.
#[derive(Default)]
pub(crate) struct PeerJobs {
    owners: HashMap<Jid, MinionId>,
    order: VecDeque<Jid>,
}

impl PeerJobs {
    fn note(&mut self, jid: Jid, owner: MinionId) {
        if self.order.len() >= MAX_JOBS
            && let Some(oldest) = self.order.pop_front()
        {
            self.owners.remove(&oldest);
        }
        self.order.push_back(jid.clone());
        self.owners.insert(jid, owner);
    }
}

/// `minion_pub`: `{jid, minions}`, or Salt's empty mapping when it is not allowed.
pub(super) async fn publish(shared: &Arc<Shared>, from: &Caller, job: MinionPub) -> Answer {
    if !may_publish(shared, from, &job).await {
        from.refuse(shared, Refusal::NotPermitted, &format!("publishing {:.60}", job.fun));
        return Ok(Value::Map(Map::new()));
    }
    let mut to_publish = new_job(job.tgt, &job.tgt_type, &job.fun, &shared.opts.user);
    to_publish.arg = arguments(&job.arg, &job.no_parse);
    to_publish.ret = job.ret;
    to_publish.kwargs = Map::from([("id", from.id.as_str())]);
    to_publish.load.insert("arg", Value::List(to_publish.arg.clone()));
    to_publish.load.insert("id", from.id.as_str());
    match shared.publish(to_publish).await {
        Ok(published) => {
            lock(&shared.peer_jobs).note(published.jid.clone(), from.id.clone());
            Ok(Value::from_iter([
                ("jid", Value::from(published.jid.as_str())),
                ("minions", published.minions.into()),
            ]))
        }
        Err(PublishError::Nobody(_)) => Ok(Value::Map(Map::new())),
        Err(error) => Err(error.to_string()),
    }
}

/// `pub_ret`: `{minion: {ret: value}}`; nothing about jobs of others.
pub(super) async fn returns(shared: &Arc<Shared>, from: &Caller, jid: Jid) -> Answer {
    let own = lock(&shared.peer_jobs).owners.get(&jid) == Some(&from.id);
    if !own {
        from.refuse(shared, Refusal::NotPermitted, &format!("returns of job {jid}"));
        return Ok("".into());
    }
    let returns = shared.compute(move |shared| shared.jobs.store().returns(&jid)).await?;
    let returns = returns.map_err(|e| e.to_string())?;
    Ok(returns.into_iter().map(|ret| (ret.minion, Map::from([("ret", ret.value)]))).collect())
}

async fn may_publish(shared: &Arc<Shared>, from: &Caller, job: &MinionPub) -> bool {
    // A job that publishes jobs could run in circles.
    if job.fun.split(',').any(|fun| fun.trim().starts_with("publish.")) {
        return false;
    }
    let (id, job) = (from.id.clone(), job.clone());
    let allowed = shared
        .compute(move |shared| {
            let rules = authz::peer_rules(&shared.opts.peer, id.as_str());
            if rules.is_empty() {
                return false;
            }
            let minions = |tgt_type: &str| {
                shared.targets.expected(&job.tgt, tgt_type, ":", true).unwrap_or_default().minions
            };
            let targeted = minions(&job.tgt_type);
            // Globs in pillar targets would let a minion guess at others' secrets.
            let exact = match job.tgt_type.as_str() {
                "pillar" | "pillar_pcre" => minions("pillar_exact"),
                "compound" => minions("compound_pillar_exact"),
                _ => targeted.clone(),
            };
            targeted.iter().all(|id| exact.contains(id))
                && authz::allowed(&rules, &[&job.fun], &targeted, &shared.targets)
        })
        .await;
    allowed.unwrap_or(false)
}

/// Words a minion sends as arguments are read as on the command line.
fn arguments(sent: &[Value], no_parse: &[Value]) -> Vec<Value> {
    let no_parse: Vec<String> =
        no_parse.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let mut arguments = Vec::new();
    let mut named = Map::new();
    for argument in sent {
        match argument {
            Value::Str(text) => {
                let (args, kwargs) =
                    saltern_modules::parse_args(std::slice::from_ref(text), &no_parse);
                arguments.extend(args);
                named.extend(kwargs);
            }
            other => arguments.push(other.clone()),
        }
    }
    if !named.is_empty() {
        named.insert("__kwarg__", true);
        arguments.push(Value::Map(named));
    }
    arguments
}
