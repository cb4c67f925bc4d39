//! Commands of the tools on this host: `publish`, `runner` and `wheel` with the local root key.
//! Tokens and external authentication are refused as where none is configured.

use std::net::SocketAddr;
use std::sync::Arc;

use saltern_event::tags;
use saltern_value::{Map, Value};
use saltern_wire::Verified;
use saltern_wire::command::{Publish, Runner, Unverified, Wheel};
use saltern_wire::reply;

use crate::authz;
use crate::context::Shared;
use crate::counters::Refusal;
use crate::publish::{PublishError, delimiter};
use crate::runners::{self, binding::Arguments};
use crate::wheel;

/// Said with a job that may find nobody; tools of real Salt pass it over.
const DRAINED: &str = "This master is being drained, so minions that have left for another one do \
                       not get this job; publish it there, or see salt-run master.drain_status";

/// `publish`: authenticate, authorise, publish.
pub(crate) async fn publish(
    shared: &Arc<Shared>,
    job: Unverified<Publish>,
    peer: SocketAddr,
) -> Vec<u8> {
    let job = match job.verify(&shared.root_keys) {
        Ok(job) => job,
        Err(error) => {
            shared
                .counters
                .refuse(Refusal::NotAuthenticated, Some(peer), || format!("publish ({error})"));
            return reply::error("AuthenticationError", "Authentication error occurred.");
        }
    };
    if !may_publish(shared, &job).await {
        shared
            .counters
            .refuse(Refusal::NotPermitted, Some(peer), || format!("publish by user {}", job.user));
        if let Some(jid) = &job.jid {
            let mut data = job.load.clone();
            let error =
                [("name", "AuthorizationError"), ("message", "Authorization error occurred.")];
            data.insert("error", Map::from(error));
            shared.fire(&tags::job_error(jid.as_str()), data);
        }
        return reply::error("AuthorizationError", "Authorization error occurred.");
    }
    match shared.publish(job.into_inner()).await {
        Ok(published) => {
            let mut answer = Map::from([
                ("jid", Value::from(published.jid.as_str())),
                ("minions", published.minions.into()),
                ("missing", published.missing.into()),
            ]);
            if shared.drain.wish().is_some() {
                answer.insert("warning", DRAINED);
            }
            reply::clear(answer.into())
        }
        Err(error @ PublishError::Nobody(_)) => reply::clear(Value::from_iter([
            ("jid", Value::Nil),
            ("minions", Value::List(Vec::new())),
            ("error", error.to_string().into()),
        ])),
        Err(error) => {
            log::error!("{error}");
            reply::clear(Value::from_iter([("error", error.to_string())]))
        }
    }
}

/// The blacklist holds for everybody, `publisher_acl` for everybody but the administrator.
async fn may_publish(shared: &Arc<Shared>, job: &Verified<Publish>) -> bool {
    let funs = authz::functions(&job.fun);
    if authz::blacklisted(&shared.opts.publisher_acl_blacklist, &job.user, &funs) {
        return false;
    }
    if is_administrator(shared, &job.user) {
        return true;
    }
    let (job, user) = (Publish::clone(job), job.user.clone());
    let allowed = shared
        .compute(move |shared| {
            let rules = authz::user_rules(&shared.opts.publisher_acl, &user);
            let minions = shared
                .targets
                .expected(&job.tgt, &job.tgt_type, &delimiter(&job.kwargs), true)
                .map(|expected| expected.minions)
                .unwrap_or_default();
            authz::allowed(&rules, &authz::functions(&job.fun), &minions, &shared.targets)
        })
        .await;
    allowed.unwrap_or(false)
}

/// The user this master runs as, root, and whoever became root by sudo: only the key of the first
/// two proves such a name.
fn is_administrator(shared: &Shared, user: &str) -> bool {
    user == shared.opts.user || user == "root" || user.starts_with("sudo_")
}

/// `runner`: starts it and answers with its tag; the result is an event.
pub(crate) fn runner(shared: &Arc<Shared>, call: Unverified<Runner>, peer: SocketAddr) -> Vec<u8> {
    let call = match call.verify(&shared.root_keys) {
        Ok(call) if is_administrator(shared, &call.user) => call.into_inner(),
        Ok(_) => return not_allowed(shared, peer, "runner", "UserAuthenticationError", USER),
        Err(error) => {
            return not_allowed(shared, peer, "runner", error.name(), &error.to_string());
        }
    };
    let jid = shared.jobs.allocate();
    let tag = format!("salt/run/{jid}");
    let reply = reply::map(&Map::from([("tag", tag), ("jid", jid.to_string())]));
    let arguments = Arguments::of(call.arg, call.kwarg);
    let started = shared.running.start(&jid, &call.fun, &call.user, {
        let (shared, jid) = (Arc::clone(shared), jid.clone());
        let (fun, user) = (call.fun.clone(), call.user.clone());
        async move {
            runners::run(&shared, &fun, arguments, &user, &jid).await;
        }
    });
    if started {
        return reply;
    }
    shared.counters.refuse(Refusal::RunnersFull, Some(peer), || format!("runner {}", call.fun));
    reply::error("SaltMasterError", "Too many runners are at work; try again later.")
}

/// `wheel`: runs it and answers with its result.
pub(crate) async fn wheel(
    shared: &Arc<Shared>,
    call: Unverified<Wheel>,
    peer: SocketAddr,
) -> Vec<u8> {
    let call = match call.verify(&shared.root_keys) {
        Ok(call) if is_administrator(shared, &call.user) => call.into_inner(),
        Ok(_) => return not_allowed(shared, peer, "wheel", "UserAuthenticationError", USER),
        Err(error) => {
            return not_allowed(shared, peer, "wheel", error.name(), &error.to_string());
        }
    };
    let jid = shared.jobs.allocate();
    let arguments = Arguments::of(call.arg, call.kwarg);
    reply::map(&wheel::run(shared, &call.fun, arguments, &call.user, &jid).await)
}

const USER: &str = "Authentication failure of type \"user\" occurred";

fn not_allowed(shared: &Shared, peer: SocketAddr, what: &str, name: &str, why: &str) -> Vec<u8> {
    shared.counters.refuse(Refusal::NotAuthenticated, Some(peer), || format!("{what} ({why})"));
    reply::error(name, why)
}

/// `mk_token`: no external authentication is configured, so there is never one.
pub(crate) fn mk_token(shared: &Shared, peer: SocketAddr) -> Vec<u8> {
    shared.counters.refuse(Refusal::NotAuthenticated, Some(peer), || "mk_token");
    reply::text("")
}

/// `get_token`: no token is known.
pub(crate) fn get_token(load: &Map) -> Vec<u8> {
    if load.contains_key("token") { reply::map(&Map::new()) } else { reply::value(&false.into()) }
}
