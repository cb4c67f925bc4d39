//! `config`: settings, wherever they stand: options, grains, pillar, the master's options.

use std::sync::Arc;

use saltern_target::Glob;
use saltern_value::{Map, Value};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::data::{self, delimiter};
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "config",
    doc: "Read settings of the minion.",
    functions: &[
        Function::new(
            "backup_mode",
            "backup=''",
            backup_mode,
            "Returns the argument, or the option backup_mode.",
            "config.backup_mode",
        ),
        Function::new(
            "dot_vals",
            "value",
            dot_vals,
            "Returns all options whose names start with the value and a dot.",
            "config.dot_vals host",
        ),
        Function::new(
            "get",
            "key, default='', delimiter=':', merge=None, omit_opts=False, omit_pillar=False, \
             omit_master=False, omit_grains=False",
            get,
            "Looks a key up in the options, the grains, the pillar and the master's options, in \
             this order; a:b leads into mappings. merge (recurse or overwrite) puts all of them \
             on top of each other instead of taking the first.",
            "config.get pkg:apache",
        ),
        Function::new("items", "", items, "Returns all options.", "config.items"),
        Function::new(
            "manage_mode",
            "mode",
            manage_mode,
            "Returns a file mode as text with at least four digits.",
            "config.manage_mode 644",
        ),
        Function::new(
            "merge",
            "value, default='', omit_opts=False, omit_master=False, omit_pillar=False",
            merge,
            "Looks a name up everywhere and joins what is found: mappings and lists are put \
             together, the first text ends the search.",
            "config.merge schedule",
        ),
        Function::new(
            "option",
            "value, default=None, omit_opts=False, omit_grains=False, omit_pillar=False, \
             omit_master=False, omit_all=False, wildcard=False",
            option,
            "Returns the first of option, grain, pillar and master's option of that name; with \
             wildcard, all that match a shell pattern.",
            "config.option redis.host",
        ),
        Function::new(
            "valid_fileproto",
            "uri",
            valid_fileproto,
            "Whether files can be fetched from such an address.",
            "config.valid_fileproto salt://path/to/file",
        ),
    ],
};

/// Settings that have a default without being options of the minion.
fn extra_default(name: &str) -> Option<Value> {
    Some(match name {
        "test.foo" => Value::from("unconfigured"),
        "hosts.file" => Value::from("/etc/hosts"),
        "aliases.file" => Value::from("/etc/aliases"),
        "ca.cert_base_path" => Value::from("/etc/pki"),
        _ => return None,
    })
}

const EXTRA_DEFAULTS: [&str; 4] = ["test.foo", "hosts.file", "aliases.file", "ca.cert_base_path"];

/// The places of settings.
struct Places {
    opts: Arc<Map>,
    grains: Arc<Map>,
    pillar: Arc<Map>,
    master: Map,
}

impl Places {
    fn of(ctx: &Context<'_>) -> Self {
        let pillar = ctx.host().pillar();
        let master = pillar.get("master").and_then(Value::as_map).cloned().unwrap_or_default();
        Places { opts: ctx.host().opts(), grains: ctx.host().grains(), pillar, master }
    }

    /// Those that are not left out, first come first.
    fn searched<'a>(&'a self, args: &Bound) -> Vec<&'a Map> {
        let all = args.truthy("omit_all");
        [
            ("omit_opts", &*self.opts),
            ("omit_grains", &*self.grains),
            ("omit_pillar", &*self.pillar),
            ("omit_master", &self.master),
        ]
        .into_iter()
        .filter(|(omit, _)| !all && !args.truthy(omit))
        .map(|(_, map)| map)
        .collect()
    }
}

fn backup_mode(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    match args.opt_text("backup") {
        Some(mode) => Ok(Value::from(mode)),
        None => ctx.run("config.option", vec!["backup_mode".into()], Map::new()),
    }
}

fn manage_mode(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(normalize_mode(args.get("mode")))
}

/// Salt's `normalize_mode`: text without quotes, at least four digits; `None` stays.
pub(crate) fn normalize_mode(mode: &Value) -> Value {
    if mode.is_nil() {
        return Value::Nil;
    }
    let text = to_text(mode).replace("0o", "0");
    let digits = text.trim_matches('"').trim_matches('\'').trim_start_matches('0');
    Value::from(format!("{digits:0>4}"))
}

fn valid_fileproto(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let uri = args.text("uri");
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    Ok(Value::Bool(matches!(scheme, "salt" | "file")))
}

fn option(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let places = Places::of(ctx);
    let name = args.text("value");
    if args.truthy("wildcard") {
        let pattern = Glob::new(&name);
        let mut found = Map::new();
        for place in places.searched(&args).into_iter().rev() {
            let fits = place.iter().filter(|(k, _)| k.as_str().is_some_and(|k| pattern.matches(k)));
            found.extend(fits.map(|(k, v)| (k.clone(), v.clone())));
        }
        for name in EXTRA_DEFAULTS.iter().filter(|n| pattern.matches(n)) {
            if !found.contains_key(name) {
                found.insert(*name, extra_default(name));
            }
        }
        let default = args.take("default");
        return Ok(if found.is_empty() && !default.is_nil() { default } else { found.into() });
    }
    if let Some(value) = places.searched(&args).into_iter().find_map(|place| place.get(&name)) {
        return Ok(value.clone());
    }
    Ok(extra_default(&name).unwrap_or_else(|| match args.take("default") {
        Value::Nil => Value::from(""),
        default => default,
    }))
}

fn merge(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let places = Places::of(ctx);
    let name = args.text("value");
    let mut result: Option<Value> = None;
    for (omit, place) in [
        ("omit_opts", &*places.opts),
        ("omit_master", &places.master),
        ("omit_pillar", &*places.pillar),
    ] {
        let Some(found) = place.get(&name).filter(|_| !args.truthy(omit)) else { continue };
        result = Some(match (result, found) {
            (None | Some(Value::Nil), found) => found.clone(),
            (Some(Value::Map(first)), Value::Map(more)) => {
                let mut all = more.clone();
                all.extend(first);
                Value::Map(all)
            }
            (Some(Value::List(mut first)), Value::List(more)) => {
                first.extend(more.clone());
                Value::List(first)
            }
            (Some(first), _) => first,
        });
        if matches!(result, Some(Value::Str(_))) {
            break;
        }
    }
    Ok(match result {
        None | Some(Value::Nil) => extra_default(&name).unwrap_or_else(|| args.take("default")),
        Some(found) => found,
    })
}

fn get(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let places = Places::of(ctx);
    let (key, delimiter) = (args.text("key"), delimiter(&args));
    let found = match args.opt_text("merge") {
        None => places.searched(&args).into_iter().find_map(|p| data::find(p, &key, &delimiter)),
        Some(strategy) => {
            if !matches!(strategy.as_str(), "recurse" | "overwrite") {
                log::warn!("There is no merge strategy '{strategy}'; 'recurse' is used");
            }
            let mut all = Map::new();
            for place in [&places.master, &*places.pillar, &*places.grains, &*places.opts] {
                if strategy == "overwrite" {
                    all.extend(place.clone());
                } else {
                    all = data::merged(&all, place);
                }
            }
            data::find(&all, &key, &delimiter)
        }
    };
    Ok(found.or_else(|| extra_default(&key)).unwrap_or_else(|| args.take("default")))
}

fn dot_vals(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let places = Places::of(ctx);
    let prefix = format!("{}.", args.text("value"));
    let fits = |map: &Map| -> Map {
        map.iter()
            .filter(|(k, _)| k.as_str().is_some_and(|k| k.starts_with(&prefix)))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    let mut found = fits(&places.master);
    found.extend(fits(&places.opts));
    Ok(Value::Map(found))
}

fn items(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(Value::Map((*ctx.host().opts()).clone()))
}

#[cfg(test)]
mod tests {
    use saltern_value::pyrepr::repr;

    use super::*;
    use crate::testing::{TestHost, run_on};

    fn host() -> Arc<TestHost> {
        let mut host = TestHost::new();
        let map = |pairs: [(&str, i64); 2]| Value::Map(Map::from(pairs));
        host.opts.insert("a", map([("x", 1), ("o", 1)]));
        host.opts.insert("web.port", 80);
        host.grains = Map::from([("a", map([("x", 2), ("g", 2)])), ("grain", Value::Int(1))]);
        host.pillar = Map::from([
            ("a", map([("x", 3), ("p", 3)])),
            ("master", Value::Map(Map::from([("from_master", 1), ("web.host", 2)]))),
        ]);
        Arc::new(host)
    }

    fn shown(fun: &str, args: &[&str]) -> String {
        repr(&run_on(&host(), fun, args).value)
    }

    #[test]
    fn the_first_place_wins_or_all_are_merged() {
        assert_eq!(shown("config.get", &["a:x"]), "1");
        assert_eq!(shown("config.get", &["a:x", "omit_opts=True"]), "2");
        assert_eq!(shown("config.get", &["a:p"]), "3", "a place without the key is passed over");
        assert_eq!(shown("config.get", &["a:nope"]), "''");
        assert_eq!(shown("config.get", &["from_master"]), "1");
        assert_eq!(
            shown("config.get", &["a", "merge=recurse"]),
            "{'x': 1, 'p': 3, 'g': 2, 'o': 1}"
        );
        assert_eq!(shown("config.get", &["a", "merge=overwrite"]), "{'x': 1, 'o': 1}");
        assert_eq!(shown("config.get", &["nope", "default=5"]), "5");
    }

    #[test]
    fn options_by_name_and_pattern() {
        assert_eq!(shown("config.option", &["grain"]), "1");
        assert_eq!(shown("config.option", &["test.foo"]), "'unconfigured'");
        assert_eq!(shown("config.option", &["nope"]), "''");
        assert_eq!(
            shown("config.option", &["web.*", "wildcard=True"]),
            "{'web.host': 2, 'web.port': 80}"
        );
        assert_eq!(shown("config.dot_vals", &["web"]), "{'web.host': 2, 'web.port': 80}");
        assert_eq!(shown("config.merge", &["a"]), "{'x': 1, 'p': 3, 'o': 1}");
    }

    #[test]
    fn modes_are_text() {
        assert_eq!(shown("config.manage_mode", &["644"]), "'0644'");
        assert_eq!(shown("config.manage_mode", &["0"]), "'0000'");
        assert_eq!(shown("config.valid_fileproto", &["salt://x"]), "True");
        assert_eq!(shown("config.valid_fileproto", &["gopher://x"]), "False");
    }
}
