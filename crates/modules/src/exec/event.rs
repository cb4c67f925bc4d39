//! `event`: fire events on the minion's own bus or on the master's.

use saltern_value::{Map, Value};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "event",
    doc: "Fire events.",
    functions: &[
        Function::new(
            "fire",
            "data, tag",
            fire,
            "Fires an event on the minion's own bus.",
            "event.fire '{data: some data}' tag",
        ),
        Function::new(
            "fire_master",
            "data, tag, preload=None",
            fire_master,
            "Fires an event on the master's bus.",
            "event.fire_master '{data: some data}' tag",
        ),
        Function::new(
            "send",
            "tag, data=None, preload=None, with_env=False, with_grains=False, \
             with_pillar=False, with_env_opts=False, **kwargs",
            send,
            "Fires an event on the master's bus, or on the minion's own without a master. The \
             data are the keyword arguments and data; with_env, with_grains and with_pillar add \
             the environment, grains and pillar, whole or as a list of names.",
            "event.send myco/build/success '{version: 1}' with_grains='[id]'",
        ),
    ],
};

fn as_map(data: &Value) -> Map {
    match data {
        Value::Map(map) => map.clone(),
        Value::Nil => Map::new(),
        other => Map::from([("data", other.clone())]),
    }
}

fn fire(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let fired = ctx.host().fire_event(&args.text("tag"), as_map(args.get("data")));
    Ok(Value::Bool(fired))
}

/// Sends an event to the master's bus; `false` when that is not possible.
fn to_master(ctx: &Context<'_>, tag: &str, data: Value, preload: &Value) -> bool {
    if ctx.host().is_local() && !ctx.opt("use_master_when_local").truthy() {
        log::warn!("Local mode: the event with tag {tag} is not sent");
        return false;
    }
    let mut load = Map::from([
        ("cmd", Value::from("_minion_event")),
        ("tag", Value::from(tag)),
        ("data", data),
    ]);
    // What identifies the request is the host's to say, whatever the caller would like.
    for (key, value) in preload.as_map().into_iter().flatten() {
        if !matches!(key.as_str(), Some("cmd" | "id" | "tok" | "nonce" | "ts")) {
            load.insert(key.clone(), value.clone());
        }
    }
    ctx.host()
        .request(load, None)
        .inspect_err(|e| log::warn!("The event with tag {tag} was not sent: {e}"))
        .is_ok()
}

fn fire_master(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let data = args.take("data");
    Ok(Value::Bool(to_master(ctx, &args.text("tag"), data, args.get("preload"))))
}

/// The whole mapping for `True`, or the members a list names.
fn chosen(wanted: &Value, all: &Map) -> Option<Map> {
    match wanted {
        Value::List(names) => Some(
            all.iter()
                .filter(|(k, _)| names.contains(k))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        ),
        other => other.truthy().then(|| all.clone()),
    }
}

fn send(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let mut data = Map::new();
    let environ: Map = if args.truthy("with_env") {
        std::env::vars_os()
            .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
            .collect()
    } else {
        Map::new()
    };
    let (grains, pillar) = (ctx.host().grains(), ctx.host().pillar());
    for (option, name, all) in [
        ("with_env", "environ", &environ),
        ("with_grains", "grains", &*grains),
        ("with_pillar", "pillar", &*pillar),
    ] {
        if let Some(part) = chosen(args.get(option), all) {
            data.insert(name, part);
        }
    }
    if args.truthy("with_env_opts") {
        data.insert("saltenv", ctx.opt_str("saltenv").unwrap_or_else(|| "base".to_owned()));
        data.insert("pillarenv", ctx.opt("pillarenv"));
    }
    // Salt keeps the publication's members among the data, and reactors read them.
    data.extend(args.kwargs.clone());
    match args.take("data") {
        Value::Map(map) => data.extend(map),
        Value::Nil => {}
        other => log::warn!("event.send: data must be a dictionary, not {}", to_text(&other)),
    }
    let tag = args.text("tag");
    let masterless =
        ctx.host().is_local() || ctx.opt_str("master_type").as_deref() == Some("disable");
    if masterless && !ctx.opt("use_master_when_local").truthy() {
        return Ok(Value::Bool(ctx.host().fire_event(&tag, data)));
    }
    Ok(Value::Bool(to_master(ctx, &tag, Value::Map(data), args.get("preload"))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{TestHost, run_on};

    #[test]
    fn events_go_to_the_master() {
        let mut host = TestHost::new();
        host.grains = Map::from([("os", "Ubuntu"), ("id", "m1")]);
        let host = Arc::new(host);
        host.answer(true);
        let sent = run_on(&host, "event.send", &["a/b", "{x: 1}", "y=2", "with_grains=[id]"]);
        assert_eq!(sent.value, Value::Bool(true));
        let load = host.requests.lock().unwrap().remove(0);
        assert_eq!(load.get_str("cmd"), Some("_minion_event"));
        assert_eq!(load.get_str("tag"), Some("a/b"));
        let data = load.get("data").unwrap();
        assert_eq!(data.get("x"), Some(&Value::Int(1)));
        assert_eq!(data.get("y"), Some(&Value::Int(2)));
        assert_eq!(data.get("grains").unwrap().as_map().unwrap().len(), 1);
        let lost = run_on(&host, "event.send", &["a/b"]);
        assert_eq!(lost.value, Value::Bool(false), "no master answered");
    }

    #[test]
    fn a_caller_cannot_pose_as_another_minion() {
        let host = Arc::new(TestHost::new());
        host.answer(true);
        run_on(&host, "event.fire_master", &["{}", "t", "preload={id: other, cmd: x, p: 1}"]);
        let load = host.requests.lock().unwrap().remove(0);
        assert_eq!(load.get_str("cmd"), Some("_minion_event"));
        assert!(load.get("id").is_none());
        assert_eq!(load.get("p"), Some(&Value::Int(1)));
    }

    #[test]
    fn events_without_a_master_stay_here() {
        let mut host = TestHost::new();
        host.local = true;
        let host = Arc::new(host);
        run_on(&host, "event.send", &["a", "{x: 1}"]);
        run_on(&host, "event.fire", &["{y: 2}", "b"]);
        let refused = run_on(&host, "event.fire_master", &["{}", "c"]);
        assert_eq!(refused.value, Value::Bool(false));
        let fired = host.fired.lock().unwrap();
        assert_eq!(fired.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}
