//! `pillar`: what the master tells this minion alone.

use std::path::Path;

use saltern_value::{Map, Value, merge, yaml};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::data::{self, delimiter};
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "pillar",
    doc: "Read the pillar.",
    functions: &[
        Function::new(
            "data",
            "*args, **kwargs",
            items,
            "Another name of pillar.items.",
            "pillar.data",
        ),
        Function::new("fetch", GET, get, "Another name of pillar.get.", "pillar.fetch pkg:apache"),
        Function::new(
            "file_exists",
            "path, saltenv=None",
            file_exists,
            "Whether a file is in pillar_roots. For a minion beside its master.",
            "pillar.file_exists foo/bar.sls",
        ),
        Function::new(
            "filter_by",
            "lookup_dict, pillar, merge=None, default='default', base=None",
            filter_by,
            "As grains.filter_by, by the value of a pillar key.",
            "pillar.filter_by '{web: apache, default: none}' role",
        ),
        Function::new(
            "get",
            GET,
            get,
            "Returns a pillar value from memory, or default. The key may lead into mappings: \
             a:b:c. merge puts the value on top of default, when both are mappings or lists. \
             saltenv or pillarenv compile a fresh pillar.",
            "pillar.get pkg:apache",
        ),
        Function::new(
            "item",
            "*args, **kwargs",
            item,
            "Returns the named keys from memory; takes default, delimiter, saltenv, pillarenv.",
            "pillar.item foo bar",
        ),
        Function::new(
            "items",
            "*args, **kwargs",
            items,
            "Compiles the pillar and returns it; pillar={...} overrides keys. With arguments, as \
             pillar.item.",
            "pillar.items",
        ),
        Function::new(
            "keys",
            "key, delimiter=':'",
            keys,
            "Lists the keys of a mapping in the pillar.",
            "pillar.keys web:sites",
        ),
        Function::new("ls", "*args", ls, "Compiles the pillar and lists its keys.", "pillar.ls"),
        Function::new(
            "obfuscate",
            "*args, **kwargs",
            obfuscate,
            "As pillar.items, with the type in the place of each value.",
            "pillar.obfuscate",
        ),
        Function::new(
            "raw",
            "key=None",
            raw,
            "Returns the pillar in memory, or one key of it.",
            "pillar.raw key=roles",
        ),
    ],
};

const GET: &str = "key, default=None, merge=False, merge_nested_lists=None, delimiter=':', \
                   pillarenv=None, saltenv=None";

fn missing(key: &str) -> Error {
    Error::Exception(format!("KeyError: 'Pillar key not found: {key}'"))
}

/// The pillar in memory, or a fresh one for the environments asked for.
fn pillar_of(
    ctx: &Context<'_>,
    saltenv: Option<&str>,
    pillarenv: Option<&str>,
) -> Result<Map, Error> {
    if saltenv.is_none() && pillarenv.is_none() {
        return Ok((*ctx.host().pillar()).clone());
    }
    compile(ctx, saltenv, pillarenv, None)
}

fn compile(
    ctx: &Context<'_>,
    saltenv: Option<&str>,
    pillarenv: Option<&str>,
    overrides: Option<&Map>,
) -> Result<Map, Error> {
    let from_saltenv = ctx.opt("pillarenv_from_saltenv").truthy();
    let configured = ctx.opt_str(if from_saltenv { "saltenv" } else { "pillarenv" });
    let chosen =
        pillarenv.or(if from_saltenv { saltenv } else { None }).map(str::to_owned).or(configured);
    Ok(ctx.host().compile_pillar(saltenv, chosen.as_deref(), overrides)?)
}

fn get(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let (key, delimiter) = (args.text("key"), delimiter(&args));
    let (saltenv, pillarenv) = (args.opt_text("saltenv"), args.opt_text("pillarenv"));
    let pillar = pillar_of(ctx, saltenv.as_deref(), pillarenv.as_deref())?;
    let found = data::find(&pillar, &key, &delimiter);
    if args.truthy("merge") {
        let join = match args.get("merge_nested_lists") {
            Value::Nil => ctx.opt("pillar_merge_lists").truthy(),
            other => other.truthy(),
        };
        match (args.get("default"), &found) {
            (Value::Map(below), None) => return Ok(Value::Map(below.clone())),
            (Value::Map(below), Some(Value::Map(own))) => {
                let mut all = below.clone();
                merge::deep(&mut all, own.clone(), join);
                return Ok(Value::Map(all));
            }
            (Value::List(below), None) => return Ok(Value::List(below.clone())),
            (Value::List(below), Some(Value::List(own))) => {
                let new = own.iter().filter(|v| !below.contains(v)).cloned();
                return Ok(Value::List(below.iter().cloned().chain(new).collect()));
            }
            (default, _) => log::error!(
                "pillar.get: '{key}' cannot be merged with a default of type {}",
                default.type_name()
            ),
        }
    }
    match found {
        Some(value) => Ok(value),
        None if args.given("default") => Ok(args.take("default")),
        None if ctx.opt("pillar_raise_on_missing").truthy() => Err(missing(&key)),
        None => Ok(Value::from("")),
    }
}

fn item(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let kwarg = |name: &str| args.kwargs.get_str(name);
    let pillar = pillar_of(ctx, kwarg("saltenv"), kwarg("pillarenv"))?;
    let default = args.kwargs.get("default").cloned().unwrap_or_else(|| Value::from(""));
    let delimiter = kwarg("delimiter").unwrap_or(":");
    Ok(args
        .varargs
        .iter()
        .map(|key| {
            let found = data::find(&pillar, &to_text(key), delimiter);
            (key.clone(), found.unwrap_or_else(|| default.clone()))
        })
        .collect())
}

fn items(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    if !args.varargs.is_empty() {
        return item(ctx, Bound::of(args.varargs, Map::new()));
    }
    if args.kwargs.get("pillar_enc").is_some_and(Value::truthy) {
        return Err(Error::exec("pillar_enc is not supported; give the pillar in the clear"));
    }
    let overrides = match args.kwargs.get("pillar") {
        Some(Value::Map(map)) => Some(map.clone()),
        Some(Value::Str(text)) => yaml::load(text).ok().and_then(Value::into_map),
        _ => None,
    };
    let kwarg = |name: &str| args.kwargs.get_str(name);
    Ok(compile(ctx, kwarg("saltenv"), kwarg("pillarenv"), overrides.as_ref())?.into())
}

fn ls(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let all = items(ctx, args)?;
    Ok(Value::List(all.as_map().into_iter().flat_map(Map::keys).cloned().collect()))
}

fn hidden(value: &Value) -> Value {
    match value {
        Value::Map(map) => map.iter().map(|(k, v)| (k.clone(), hidden(v))).collect(),
        Value::List(items) => Value::List(items.iter().map(hidden).collect()),
        other => Value::from(format!("<{}>", other.type_name())),
    }
}

fn obfuscate(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(hidden(&items(ctx, args)?))
}

fn raw(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let pillar = ctx.host().pillar();
    Ok(match args.opt_text("key") {
        Some(key) => pillar.get(&key).cloned().unwrap_or_else(|| Value::Map(Map::new())),
        None => Value::Map((*pillar).clone()),
    })
}

fn keys(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let key = args.text("key");
    match data::find(&ctx.host().pillar(), &key, &delimiter(&args)) {
        Some(Value::Map(map)) => Ok(Value::List(map.keys().cloned().collect())),
        Some(_) => {
            Err(Error::Exception(format!("ValueError: Pillar value in key {key} is not a dict")))
        }
        None => Err(missing(&key)),
    }
}

fn file_exists(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let roots = ctx.opt("pillar_roots");
    let Some(roots) = roots.as_map().filter(|r| !r.is_empty()) else {
        return Err(Error::exec("No pillar_roots found. Are you running this on the master?"));
    };
    let saltenv = args.opt_text("saltenv");
    let path = args.text("path");
    let found = roots
        .iter()
        .filter(|(env, _)| saltenv.as_ref().is_none_or(|wanted| to_text(env) == *wanted))
        .flat_map(|(_, dirs)| dirs.as_list().unwrap_or_default())
        .any(|dir| Path::new(&to_text(dir)).join(&path).is_file());
    Ok(Value::Bool(found))
}

fn filter_by(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    data::filter_by(&args, &args.text("pillar"), &ctx.host().pillar())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use saltern_value::pyrepr::repr;

    use super::*;
    use crate::testing::{TestHost, run_on};

    fn shown(fun: &str, args: &[&str]) -> String {
        let mut host = TestHost::new();
        host.pillar =
            yaml::load("{a: {b: 1, l: [x]}, s: text, l: [1, 2]}").unwrap().into_map().unwrap();
        repr(&run_on(&Arc::new(host), fun, args).value)
    }

    #[test]
    fn values_are_found_merged_and_missed() {
        assert_eq!(shown("pillar.get", &["a:b"]), "1");
        assert_eq!(shown("pillar.get", &["a|b", "delimiter='|'"]), "1");
        assert_eq!(shown("pillar.get", &["nope"]), "''");
        assert_eq!(shown("pillar.get", &["nope", "default=7"]), "7");
        assert_eq!(
            shown("pillar.get", &["a", "default={c: 2, b: 0}", "merge=True"]),
            "{'c': 2, 'b': 1, 'l': ['x']}"
        );
        assert_eq!(shown("pillar.get", &["l", "default=[2, 3]", "merge=True"]), "[2, 3, 1]");
        assert_eq!(shown("pillar.get", &["s", "default={a: 1}", "merge=True"]), "'text'");
        assert_eq!(shown("pillar.item", &["s", "nope", "default=0"]), "{'s': 'text', 'nope': 0}");
    }

    #[test]
    fn the_whole_pillar_in_several_forms() {
        assert_eq!(shown("pillar.ls", &[]), "['a', 's', 'l']");
        assert_eq!(shown("pillar.keys", &["a"]), "['b', 'l']");
        assert!(shown("pillar.keys", &["s"]).contains("is not a dict"));
        assert_eq!(shown("pillar.raw", &["key=s"]), "'text'");
        assert_eq!(shown("pillar.raw", &["key=nope"]), "{}");
        assert_eq!(
            shown("pillar.obfuscate", &[]),
            "{'a': {'b': '<int>', 'l': ['<str>']}, 's': '<str>', 'l': ['<int>', '<int>']}"
        );
        assert!(shown("pillar.items", &["pillar={s: other}"]).contains("'s': 'other'"));
        assert_eq!(shown("pillar.items", &["s"]), "{'s': 'text'}");
        assert_eq!(shown("pillar.filter_by", &["{te*: 1}", "s"]), "1");
    }
}
