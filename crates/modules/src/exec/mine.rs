//! `mine`: values minions leave with the master for each other.

use std::io;
use std::path::PathBuf;

use saltern_base::atomic_file;
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::exec::test::clean_kwargs;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "mine",
    doc: "Leave values with the master for other minions, and fetch theirs.",
    functions: &[
        Function::new(
            "delete",
            "fun",
            delete,
            "Removes one of this minion's values.",
            "mine.delete network.ip_addrs",
        ),
        Function::new("flush", "", flush, "Removes all values of this minion.", "mine.flush"),
        Function::new(
            "get",
            "tgt, fun, tgt_type='glob', exclude_minion=False",
            get,
            "Fetches a value of other minions, by id; several names give one mapping a name.",
            "mine.get '*' network.ip_addrs",
        ),
        Function::new(
            "send",
            "name, *args, **kwargs",
            send,
            "Runs a function and leaves its result. mine_function runs another function under \
             this name; allow_tgt and allow_tgt_type say who may read it.",
            "mine.send eth0 mine_function=test.echo text=hello",
        ),
        Function::new(
            "update",
            "clear=False, mine_functions=None",
            update,
            "Runs all functions of the option mine_functions and leaves their results.",
            "mine.update",
        ),
        Function::new("valid", "", valid, "Lists the functions of mine_functions.", "mine.valid"),
    ],
};

/// One entry of `mine_functions`: which function, with what, and who may read it.
struct Entry {
    function: Option<String>,
    args: Vec<Value>,
    kwargs: Map,
    allow: Map,
}

impl Entry {
    /// A list of arguments, with `mine_function` and keywords as mappings in it; or a mapping.
    fn read(definition: &Value) -> Self {
        let (mut args, mut kwargs) = (Vec::new(), Map::new());
        match definition {
            Value::Map(map) => kwargs = map.clone(),
            Value::List(items) => {
                for item in items {
                    match item {
                        Value::Map(map) => kwargs.extend(map.clone()),
                        other => args.push(other.clone()),
                    }
                }
            }
            _ => {}
        }
        let function = kwargs.remove("mine_function").map(|f| to_text(&f));
        let mut allow = Map::new();
        for key in ["allow_tgt", "allow_tgt_type"] {
            if let Some(value) = kwargs.remove(key) {
                allow.insert(key, value);
            }
        }
        Entry { function, args, kwargs, allow }
    }
}

/// What goes to the master: the value, or the value and who may read it.
fn wrapped(value: Value, allow: &Map) -> Value {
    let Some(target) = allow.get("allow_tgt").filter(|t| t.truthy()) else { return value };
    let mut map = Map::from([
        ("__data__", value),
        ("__saltmine_acl__", Value::Int(1)),
        ("allow_tgt", target.clone()),
    ]);
    if let Some(kind) = allow.get("allow_tgt_type").filter(|t| t.truthy()) {
        map.insert("allow_tgt_type", kind.clone());
    }
    Value::Map(map)
}

fn functions(ctx: &Context<'_>) -> Result<Option<Map>, Error> {
    let found =
        ctx.run("config.merge", vec!["mine_functions".into(), Value::Map(Map::new())], Map::new())?;
    Ok(match found {
        Value::Map(map) if !map.is_empty() => Some(map),
        Value::List(items) if !items.is_empty() => Some(named(&items)),
        _ => None,
    })
}

fn named(items: &[Value]) -> Map {
    items.iter().map(|name| (name.clone(), Value::Map(Map::new()))).collect()
}

fn known(ctx: &Context<'_>, name: &str) -> bool {
    let known = ctx.registry().find(name).is_some();
    if !known {
        log::error!("Function {name} in mine_functions not available");
    }
    known
}

fn update(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let wanted = match args.get("mine_functions") {
        Value::Map(map) if !map.is_empty() => Some(map.clone()),
        Value::List(items) if !items.is_empty() => Some(named(items)),
        other if !other.truthy() => functions(ctx)?,
        _ => None,
    };
    let Some(wanted) = wanted else { return Ok(Value::Nil) };
    let mut data = Map::new();
    for (alias, definition) in &wanted {
        let entry = Entry::read(definition);
        let name = entry.function.unwrap_or_else(|| to_text(alias));
        if !known(ctx, &name) {
            continue;
        }
        match ctx.run(&name, entry.args, entry.kwargs) {
            Ok(value) => {
                data.insert(alias.clone(), wrapped(value, &entry.allow));
            }
            Err(error) => log::error!("Function {name} in mine.update failed: {error}"),
        }
    }
    ctx.set_retcode(0);
    store(ctx, data, args.truthy("clear"))
}

fn send(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut kwargs = clean_kwargs(args.kwargs.clone());
    let name = args.text("name");
    let function = kwargs.remove("mine_function").map_or_else(|| name.clone(), |f| to_text(&f));
    let mut allow = Map::new();
    for key in ["allow_tgt", "allow_tgt_type"] {
        allow.insert(key, kwargs.remove(key));
    }
    match ctx.run(&function, args.varargs.clone(), kwargs) {
        Ok(value) => store(ctx, Map::from([(name, wrapped(value, &allow))]), false),
        Err(error) => {
            log::error!("Function {function} in mine.send failed: {error}");
            Ok(Value::Bool(false))
        }
    }
}

fn store(ctx: &Context<'_>, data: Map, clear: bool) -> Result<Value, Error> {
    if ctx.host().is_local() {
        let mut kept = if clear { Map::new() } else { local_read(ctx)? };
        kept.extend(data);
        local_write(ctx, kept)?;
        return Ok(Value::Bool(true));
    }
    ask(ctx, "_mine", Map::from([("data", Value::Map(data)), ("clear", Value::Bool(clear))]))
}

fn ask(ctx: &Context<'_>, cmd: &str, more: Map) -> Result<Value, Error> {
    let mut load = Map::from([("cmd", cmd)]);
    load.extend(more);
    Ok(ctx.host().request(load, None)?)
}

/// Where a minion without a master keeps its values.
fn local_file(ctx: &Context<'_>) -> Result<PathBuf, Error> {
    let cache = ctx.opt_str("cachedir").ok_or_else(|| Error::exec("cachedir is not set"))?;
    Ok(PathBuf::from(cache).join("mine_cache.p"))
}

fn local_read(ctx: &Context<'_>) -> Result<Map, Error> {
    match std::fs::read(local_file(ctx)?) {
        Ok(bytes) => {
            Ok(msgpack::from_file(&bytes).ok().and_then(Value::into_map).unwrap_or_default())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(e) => Err(e.into()),
    }
}

fn local_write(ctx: &Context<'_>, data: Map) -> Result<(), Error> {
    let path = local_file(ctx)?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    Ok(atomic_file::write(&path, &msgpack::encode(&Value::Map(data), Encoding::Bin), 0o600)?)
}

fn get(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let exclude = args.truthy("exclude_minion");
    let own = ctx.opt_str("id").unwrap_or_default();
    let mut found = if ctx.host().is_local() {
        local_get(ctx, &args, &own)?
    } else {
        let members = ["tgt", "fun", "tgt_type"].map(|name| (name, args.take(name)));
        ask(ctx, "_mine_get", Map::from(members))?
    };
    if let (true, Some(map)) = (exclude, found.as_map_mut()) {
        map.remove(&own);
    }
    Ok(found)
}

fn local_get(ctx: &Context<'_>, args: &Bound, own: &str) -> Result<Value, Error> {
    let matcher = format!("match.{}", args.text("tgt_type"));
    let target = vec![args.get("tgt").clone()];
    if !ctx.run(&matcher, target, Map::new())?.truthy() {
        return Ok(Value::Map(Map::new()));
    }
    let data = local_read(ctx)?;
    let several = matches!(args.get("fun"), Value::List(_)) || args.text("fun").contains(',');
    let mut all = Map::new();
    for function in args.list("fun") {
        let Some(value) = data.get_value(&function) else { continue };
        let value = match value.get("__saltmine_acl__") {
            Some(_) => value.get("__data__").cloned().unwrap_or_default(),
            None => value.clone(),
        };
        let one = Map::from([(own, value)]);
        if !several {
            return Ok(Value::Map(one));
        }
        all.insert(function, one);
    }
    Ok(Value::Map(all))
}

fn delete(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let fun = args.text("fun");
    if ctx.host().is_local() {
        let mut data = local_read(ctx)?;
        data.remove(&fun);
        local_write(ctx, data)?;
        return Ok(Value::Bool(true));
    }
    ask(ctx, "_mine_delete", Map::from([("fun", fun)]))
}

fn flush(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    if ctx.host().is_local() {
        local_write(ctx, Map::new())?;
        return Ok(Value::Bool(true));
    }
    ask(ctx, "_mine_flush", Map::new())
}

fn valid(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let Some(wanted) = functions(ctx)? else { return Ok(Value::Nil) };
    let mut found = Map::new();
    for (alias, definition) in wanted {
        let entry = Entry::read(&definition);
        let name = entry.function.clone().unwrap_or_else(|| to_text(&alias));
        if !known(ctx, &name) {
            continue;
        }
        let shown = match entry.function {
            None => definition,
            Some(function) => {
                let keywords = entry.kwargs.into_iter().map(|pair| Value::from_iter([pair]));
                let all: Vec<Value> = entry.args.into_iter().chain(keywords).collect();
                Value::from_iter([(function, all)])
            }
        };
        found.insert(alias, shown);
    }
    Ok(Value::Map(found))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use saltern_value::{pyrepr::repr, yaml};

    use super::*;
    use crate::testing::{TestHost, run_on};

    fn host(local: bool) -> Arc<TestHost> {
        let mut host = TestHost::new();
        host.local = local;
        let functions = "{test.ping: [], hi: [{mine_function: test.echo}, hello], \
             mine: {mine_function: test.echo, text: x, allow_tgt: 'web*'}, no.such: []}";
        host.opts.insert("mine_functions", yaml::load(functions).unwrap());
        Arc::new(host)
    }

    #[test]
    fn results_go_to_the_master_with_who_may_read_them() {
        let host = host(false);
        host.answer(true);
        assert_eq!(run_on(&host, "mine.update", &[]).value, Value::Bool(true));
        let load = host.requests.lock().unwrap().remove(0);
        assert_eq!(
            repr(load.get("data").unwrap()),
            "{'test.ping': True, 'hi': 'hello', 'mine': {'__data__': 'x', '__saltmine_acl__': 1, \
             'allow_tgt': 'web*'}}"
        );
        assert_eq!(
            repr(&run_on(&host, "mine.valid", &[]).value),
            "{'test.ping': [], 'hi': {'test.echo': ['hello']}, 'mine': {'test.echo': [{'text': 'x'}]}}"
        );
        host.answer(Value::from_iter([("m1", 1), ("m2", 2)]));
        let got = run_on(&host, "mine.get", &["*", "hi", "exclude_minion=True"]).value;
        assert_eq!(repr(&got), "{'m2': 2}");
    }

    #[test]
    fn without_a_master_values_stay_here() {
        let host = host(true);
        run_on(&host, "mine.send", &["hi", "mine_function=test.echo", "text=hello"]);
        assert_eq!(repr(&run_on(&host, "mine.get", &["*", "hi"]).value), "{'m1': 'hello'}");
        assert_eq!(repr(&run_on(&host, "mine.get", &["x", "hi"]).value), "{}");
        assert_eq!(run_on(&host, "mine.send", &["no.such"]).value, Value::Bool(false));
        run_on(&host, "mine.flush", &[]);
        assert_eq!(repr(&run_on(&host, "mine.get", &["*", "hi"]).value), "{}");
    }
}
