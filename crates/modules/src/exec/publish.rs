//! `publish`: jobs a minion asks its master to publish, where the master's `peer` option allows.

use std::time::{Duration, Instant};

use saltern_value::{Map, Value};

use crate::args::yamlify;
use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

const SIGNATURE: &str = "tgt, fun, arg=None, tgt_type='glob', returner='', timeout=5";

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "publish",
    doc: "Run functions on other minions, by way of the master.",
    functions: &[
        Function::new(
            "full_data",
            SIGNATURE,
            |ctx, args| publish(ctx, &args, false),
            "As publish.publish, with all the master knows of each return.",
            "publish.full_data '*' cmd.run 'ls -la /tmp'",
        ),
        Function::new(
            "publish",
            SIGNATURE,
            |ctx, args| publish(ctx, &args, true),
            "Runs a function on other minions and returns what came back within timeout seconds. \
             The master has to allow it (option peer).",
            "publish.publish '*' network.interfaces",
        ),
        Function::new(
            "runner",
            "fun, arg=None, timeout=5",
            runner,
            "Runs a runner on the master, which has to allow it (option peer_run).",
            "publish.runner manage.down",
        ),
    ],
};

fn typed(arg: &Value) -> Value {
    let value = arg.as_str().map_or_else(|| arg.clone(), yamlify);
    match value {
        Value::Nil => Value::List(Vec::new()),
        Value::List(items) => Value::List(items),
        one => Value::List(vec![one]),
    }
}

fn publish(ctx: &Context<'_>, args: &Bound, clean: bool) -> Result<Value, Error> {
    let nothing = || Ok(Value::Map(Map::new()));
    let fun = args.text("fun");
    if ctx.host().master().is_none() {
        log::error!("publish: no master is connected, nothing was sent");
        return nothing();
    }
    if fun.starts_with("publish.") {
        log::info!("publish: a publication cannot publish");
        return nothing();
    }
    let timeout = args.int("timeout")?.max(0);
    let load = Map::from([
        ("cmd", Value::from("minion_pub")),
        ("fun", Value::from(fun)),
        ("arg", typed(args.get("arg"))),
        ("tgt", args.get("tgt").clone()),
        ("tgt_type", args.get("tgt_type").clone()),
        ("ret", args.get("returner").clone()),
        ("tmo", Value::Int(timeout)),
        ("form", Value::from(if clean { "clean" } else { "full" })),
        ("no_parse", Value::List(Vec::new())),
    ]);
    let job = ctx.host().request(load, None)?;
    let Some(jid) = job.get("jid").cloned() else { return nothing() };
    let expected = job.get("minions").and_then(Value::as_list).map_or(0, <[Value]>::len);
    let deadline = Instant::now() + Duration::from_secs(timeout.unsigned_abs());
    loop {
        let load = Map::from([("cmd", Value::from("pub_ret")), ("jid", jid.clone())]);
        let found = ctx.host().request(load, None)?;
        let returns = found.as_map().cloned().unwrap_or_default();
        if returns.len() >= expected || Instant::now() >= deadline {
            return Ok(Value::Map(if clean { only_returns(returns) } else { returns }));
        }
        if !ctx.job().sleep(Duration::from_millis(300)) {
            return Err(Error::exec("the job was ended"));
        }
    }
}

fn only_returns(returns: Map) -> Map {
    returns
        .into_iter()
        .map(|(minion, value)| {
            let value = value.get("ret").cloned().unwrap_or_default();
            (minion, value)
        })
        .collect()
}

fn runner(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let timeout = args.int("timeout")?.max(0);
    let load = Map::from([
        ("cmd", Value::from("minion_runner")),
        ("fun", args.get("fun").clone()),
        ("arg", typed(args.get("arg"))),
        ("tmo", Value::Int(timeout)),
        ("no_parse", Value::List(Vec::new())),
    ]);
    Ok(ctx.host().request(load, None)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use saltern_value::pyrepr::repr;

    use super::*;
    use crate::testing::{TestHost, run_on};

    #[test]
    fn returns_are_collected_until_all_are_there() {
        let host = Arc::new(TestHost::new());
        let ret = |ids: &[&str]| -> Value {
            ids.iter().map(|id| (*id, Value::from_iter([("ret", true)]))).collect()
        };
        let minions = Value::List(vec!["a".into(), "b".into()]);
        host.answer(Value::from_iter([("jid", Value::from("1")), ("minions", minions)]));
        host.answer(ret(&["a"]));
        host.answer(ret(&["a", "b"]));
        let got = run_on(&host, "publish.publish", &["*", "test.arg", "[1, x]"]).value;
        assert_eq!(repr(&got), "{'a': True, 'b': True}");
        let load = host.requests.lock().unwrap().remove(0);
        assert_eq!(repr(load.get("arg").unwrap()), "[1, 'x']");
    }

    #[test]
    fn what_is_not_permitted_is_empty() {
        let host = Arc::new(TestHost::new());
        host.answer(Value::Map(Map::new()));
        assert_eq!(repr(&run_on(&host, "publish.publish", &["*", "test.ping"]).value), "{}");
        let nested = run_on(&host, "publish.publish", &["*", "publish.publish"]).value;
        assert_eq!(repr(&nested), "{}");
        assert_eq!(host.requests.lock().unwrap().len(), 1, "no publication publishes");
    }
}
