//! The mine: results of configured functions, kept by the master for others to ask for.

use std::sync::Arc;

use saltern_modules::Call;
use saltern_value::{Map, Value};

use crate::core::Core;
use crate::host::host_of;
use crate::link::LinkError;

/// One function of `mine_functions`.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    alias: String,
    fun: String,
    args: Vec<Value>,
    kwargs: Map,
}

/// Runs the configured functions and sends their results; `false` when the master did not take
/// them.
pub(crate) async fn update(core: &Arc<Core>, slot: usize) -> bool {
    if !core.access.opts.mine_enabled {
        return true;
    }
    let Some(place) = core.slots.get(slot) else { return false };
    let facts = place.facts();
    let mut configured = functions(facts.opts.get("mine_functions"));
    configured.extend(functions(facts.pillar.get("mine_functions")));
    if configured.is_empty() {
        return true;
    }
    let running = core.clone();
    let work = move || -> Map {
        configured
            .into_iter()
            .filter_map(|entry| {
                let host = host_of(&running, slot);
                let outcome =
                    running.registry.run(&Call::new(&entry.fun, entry.args, entry.kwargs), &host);
                if outcome.failure.is_some() {
                    log::error!("The mine function {} failed", entry.fun);
                    return None;
                }
                Some((entry.alias, outcome.value))
            })
            .collect()
    };
    let Ok(data) = tokio::task::spawn_blocking(work).await else { return false };
    let Some(link) = place.link() else { return false };
    let load = Map::from([
        ("cmd", Value::from("_mine")),
        ("data", Value::Map(data)),
        ("id", Value::from(core.id())),
    ]);
    let sent: Result<Value, LinkError> =
        link.request(load, core.access.settings.request_timeout).await;
    sent.inspect_err(|e| log::warn!("The mine did not reach {}: {e}", link.name())).is_ok()
}

/// Reads `mine_functions`: a mapping of names to arguments, or a list of names.
fn functions(configured: Option<&Value>) -> Vec<Entry> {
    let bare = |name: &str| Entry {
        alias: name.to_owned(),
        fun: name.to_owned(),
        args: Vec::new(),
        kwargs: Map::new(),
    };
    match configured {
        Some(Value::List(names)) => names.iter().filter_map(Value::as_str).map(bare).collect(),
        Some(Value::Map(map)) => map
            .iter()
            .filter_map(|(name, arguments)| Some(entry(bare(name.as_str()?), arguments)))
            .collect(),
        _ => Vec::new(),
    }
}

fn entry(mut entry: Entry, arguments: &Value) -> Entry {
    match arguments {
        Value::Map(kwargs) => entry.kwargs = kwargs.clone(),
        Value::List(items) => {
            for item in items {
                match item {
                    Value::Map(map) => entry.kwargs.extend(map.clone()),
                    other => entry.args.push(other.clone()),
                }
            }
        }
        Value::Nil => {}
        single => entry.args.push(single.clone()),
    }
    if let Some(Value::Str(fun)) = entry.kwargs.remove("mine_function") {
        entry.fun = fun;
    }
    // Who may read it is the master's business and no argument.
    entry.kwargs.remove("allow_tgt");
    entry.kwargs.remove("allow_tgt_type");
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_option() {
        let list = Value::List(vec![Value::from("test.ping")]);
        assert_eq!(functions(Some(&list))[0].fun, "test.ping");
        let alias = Map::from([("mine_function", Value::from("network.ip_addrs"))]);
        let items = vec![Value::Map(alias), Value::from("eth0")];
        let map = Map::from([("ips", Value::List(items)), ("test.version", Value::Nil)]);
        let read = functions(Some(&Value::Map(map)));
        assert_eq!((read[0].alias.as_str(), read[0].fun.as_str()), ("ips", "network.ip_addrs"));
        assert_eq!(read[0].args, [Value::from("eth0")]);
        assert_eq!(read[1].fun, "test.version");
        assert!(functions(None).is_empty());
    }
}
