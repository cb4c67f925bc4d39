//! Runner `manage`: which minions are there.

use std::time::Duration;

use saltern_value::{Map, Value};

use super::binding::Signature;
use super::ping::{self, Asked};
use super::{Body, Runner, RunnerCall, RunnerFuture};
use crate::wheel;

const ASKING: Signature = Signature::of(&[], &["tgt", "tgt_type", "timeout", "gather_job_timeout"]);
const LOOKING: Signature = Signature::of(&[], &["subset", "show_ip"]);

/// The Salt release this program keeps to; what our own minions report as `saltversion`.
const SALT_VERSION: &str = "3006.24";

const CONNECTED: &str = "The minions that are connected, without asking them anything; \
    show_ip=True also shows their addresses.\n\nCLI example: salt-run manage.present";
const UNCONNECTED: &str = "The accepted minions that are not connected, without asking them \
    anything.\n\nCLI example: salt-run manage.not_present";

const fn connected(name: &'static str) -> Runner {
    Runner { name, doc: CONNECTED, signature: LOOKING, body: Body::Blocking(list_state) }
}

const fn unconnected(name: &'static str) -> Runner {
    Runner { name, doc: UNCONNECTED, signature: LOOKING, body: Body::Blocking(list_not_state) }
}

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[
    Runner {
        name: "manage.status",
        doc: "Which minions answer and which do not.\n\nCLI example: salt-run manage.status",
        signature: Signature::of(
            &[],
            &["output", "tgt", "tgt_type", "timeout", "gather_job_timeout"],
        ),
        body: Body::Async(status),
    },
    Runner {
        name: "manage.up",
        doc: "The minions that answer.\n\nCLI example: salt-run manage.up",
        signature: ASKING,
        body: Body::Async(up),
    },
    Runner {
        name: "manage.down",
        doc: "The minions that do not answer; removekeys=True deletes their keys.\n\n\
              CLI example: salt-run manage.down",
        signature: Signature::of(
            &[],
            &["removekeys", "tgt", "tgt_type", "timeout", "gather_job_timeout"],
        ),
        body: Body::Async(down),
    },
    Runner {
        name: "manage.versions",
        doc: "The versions of the minions compared with this master.\n\n\
              CLI example: salt-run manage.versions",
        signature: Signature::of(&[], &[]),
        body: Body::Async(versions),
    },
    connected("manage.present"),
    connected("manage.list_state"),
    connected("manage.joined"),
    connected("manage.allowed"),
    connected("manage.alived"),
    connected("manage.reaped"),
    unconnected("manage.not_present"),
    unconnected("manage.list_not_state"),
    unconnected("manage.not_joined"),
    unconnected("manage.not_allowed"),
    unconnected("manage.not_alived"),
    unconnected("manage.not_reaped"),
];

async fn test_ping(call: &RunnerCall) -> Result<Asked, String> {
    let text = |name: &str, default: &str| call.args.text(name).unwrap_or_else(|| default.into());
    let time = |name: &str| call.args.seconds(name).map(Duration::from_secs_f64);
    ping::ask(
        &call.shared,
        text("tgt", "*").into(),
        &text("tgt_type", "glob"),
        ("test.ping", Vec::new()),
        time("timeout"),
        time("gather_job_timeout"),
    )
    .await
}

fn status(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let asked = test_ping(&call).await?;
        let up: Vec<String> = asked.answers.into_keys().collect();
        Ok(Value::from_iter([("up", Value::from(up)), ("down", asked.silent.into())]))
    })
}

fn up(call: RunnerCall) -> RunnerFuture {
    Box::pin(
        async move { Ok(test_ping(&call).await?.answers.into_keys().collect::<Vec<_>>().into()) },
    )
}

fn down(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let silent = test_ping(&call).await?.silent;
        if call.args.truth("removekeys", false) {
            let keep_cache = call.shared.opts.preserve_minion_cache;
            for id in &silent {
                wheel::delete_key(&call.shared, id, keep_cache).await?;
            }
        }
        Ok(silent.into())
    })
}

fn list_state(call: &RunnerCall) -> Result<Value, String> {
    let connected = in_subset(call, call.shared.presence.connected());
    Ok(if call.args.truth("show_ip", false) {
        connected.into_iter().map(|(id, ip)| (id, ip.to_string())).collect()
    } else {
        connected.into_keys().collect::<Vec<_>>().into()
    })
}

fn list_not_state(call: &RunnerCall) -> Result<Value, String> {
    let connected = call.shared.presence.connected();
    let subset = subset(call);
    let mut ids = call.shared.targets.accepted()?.to_vec();
    ids.retain(|id| {
        !connected.contains_key(id) && subset.as_ref().is_none_or(|subset| subset.contains(id))
    });
    Ok(ids.into())
}

fn subset(call: &RunnerCall) -> Option<Vec<String>> {
    match call.args.get("subset")? {
        Value::List(ids) => Some(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Value::Str(text) => Some(text.split(',').map(|id| id.trim().to_owned()).collect()),
        _ => None,
    }
}

fn in_subset<T>(
    call: &RunnerCall,
    mut connected: std::collections::BTreeMap<String, T>,
) -> std::collections::BTreeMap<String, T> {
    if let Some(subset) = subset(call) {
        connected.retain(|id, _| subset.contains(id));
    }
    connected
}

fn versions(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let asked =
            ping::ask(&call.shared, "*".into(), "glob", ("test.version", Vec::new()), None, None)
                .await?;
        let master = SALT_VERSION;
        let mut shown = Map::from([("Master", master)]);
        for id in &asked.silent {
            put(&mut shown, "Minion offline", id, false.into());
        }
        for (id, load) in &asked.answers {
            let version = load.get_str("return").unwrap_or_default();
            let label = match numbers(version).cmp(&numbers(master)) {
                std::cmp::Ordering::Less => "Minion requires update",
                std::cmp::Ordering::Equal => "Up to date",
                std::cmp::Ordering::Greater => "Minion newer than master",
            };
            put(&mut shown, label, id, version.into());
        }
        Ok(Value::Map(shown))
    })
}

fn put(shown: &mut Map, label: &str, id: &str, value: Value) {
    match shown.get_mut(label).and_then(Value::as_map_mut) {
        Some(group) => drop(group.insert(id, value)),
        None => drop(shown.insert(label, Map::from([(id, value)]))),
    }
}

/// The leading numbers of a version, for comparison: `3006.24+5.gabc` is 3006, 24.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['+', '-', 'r']).next().unwrap_or_default();
    plain.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("3006.9") < numbers("3006.24"));
        assert!(numbers("3008.2") > numbers("3006.24"));
        assert_eq!(numbers("3006.24+5.gabc"), numbers("3006.24"));
    }
}
