//! What a simulated minion answers.

use saltern_base::time::stamp;
use saltern_value::{Map, Value};
use saltern_wire::publish::Publication;

use crate::work::Kind;

/// What came of one function.
pub(crate) struct Outcome {
    pub(crate) value: Value,
    pub(crate) retcode: i64,
}

/// What answers are made from.
pub(crate) struct About<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: Kind,
    /// Bytes of an answer that is not given by the function.
    pub(crate) size: usize,
    pub(crate) grains: &'a dyn Fn() -> Map,
    /// The jobs that run: jid and function.
    pub(crate) running: &'a dyn Fn() -> Vec<(String, String)>,
}

/// The return of a whole job.
pub(crate) fn load(about: &About<'_>, job: &Publication) -> Map {
    let (value, retcode) = match &job.fun {
        Value::List(functions) => {
            let mut values = Map::new();
            let mut codes = Map::new();
            for (position, fun) in functions.iter().enumerate() {
                let fun = fun.as_str().unwrap_or_default();
                let arg = job.arg.get(position).and_then(Value::as_list).unwrap_or_default();
                let done = outcome(about, fun, arg);
                values.insert(fun, done.value);
                codes.insert(fun, done.retcode);
            }
            (Value::Map(values), Value::Map(codes))
        }
        fun => {
            let done = outcome(about, fun.as_str().unwrap_or_default(), &job.arg);
            (done.value, Value::Int(done.retcode))
        }
    };
    let success = about.kind != Kind::Failing;
    let mut load = Map::from([
        ("cmd", Value::from("_return")),
        ("id", Value::from(about.id)),
        ("success", Value::Bool(success)),
        ("return", value),
        ("retcode", retcode),
        ("jid", Value::from(job.jid.as_str())),
        ("fun", job.fun.clone()),
        ("fun_args", Value::List(job.arg.clone())),
        ("user", Value::from(job.user.as_str())),
        ("_stamp", Value::from(stamp(std::time::SystemTime::now()))),
    ]);
    for name in ["master_id", "metadata", "ret_config", "ret_kwargs"] {
        if let Some(value) = job.map.get(name) {
            load.insert(name, value.clone());
        }
    }
    load
}

fn outcome(about: &About<'_>, fun: &str, arg: &[Value]) -> Outcome {
    // Those who ask about jobs get an honest answer from everybody.
    let value = match fun {
        "saltutil.find_job" => {
            let wanted = arg.first().and_then(Value::as_str).unwrap_or_default();
            let found = (about.running)().into_iter().find(|(jid, _)| jid == wanted);
            Value::Map(found.map_or_else(Map::new, running))
        }
        "saltutil.running" => {
            let all = (about.running)().into_iter().map(running).map(Value::Map);
            Value::List(all.collect())
        }
        _ if about.kind == Kind::Failing => {
            let value = format!("{fun} fails on this simulated minion").into();
            return Outcome { value, retcode: 1 };
        }
        "test.ping" => Value::Bool(true),
        "test.version" => env!("CARGO_PKG_VERSION").into(),
        "test.echo" => named(arg, "text").or_else(|| arg.first().cloned()).unwrap_or(Value::Nil),
        "failover.leave" => Value::from_iter([("result", Value::Bool(true))]),
        "grains.items" => Value::Map((about.grains)()),
        "grains.get" => {
            let name = arg.first().and_then(Value::as_str).unwrap_or_default();
            (about.grains)().get(name).cloned().unwrap_or_else(|| "".into())
        }
        "grains.item" => {
            let grains = (about.grains)();
            let names = arg.iter().filter_map(Value::as_str);
            Value::from_iter(names.filter_map(|name| Some((name, grains.get(name)?.clone()))))
        }
        _ => "x".repeat(about.size).into(),
    };
    Outcome { value, retcode: 0 }
}

/// A keyword argument.
pub(crate) fn named(arg: &[Value], name: &str) -> Option<Value> {
    let keywords = arg.iter().rev().filter_map(Value::as_map);
    keywords.filter(|map| map.contains_key("__kwarg__")).find_map(|map| map.get(name).cloned())
}

fn running((jid, fun): (String, String)) -> Map {
    Map::from([
        ("jid", Value::from(jid)),
        ("fun", Value::from(fun)),
        ("pid", Value::Int(i64::from(std::process::id()))),
    ])
}
