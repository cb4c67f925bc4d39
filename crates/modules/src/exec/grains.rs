//! `grains`: what the minion knows of itself, and the ones an administrator adds.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use saltern_base::atomic_file;
use saltern_value::{Map, Value, yaml};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::data::{self, delimiter, is_true};
use crate::error::Error;
use crate::host::Refresh;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "grains",
    doc: "Read and change grains.",
    functions: &[
        Function::new(
            "append",
            "key, val, convert=False, delimiter=':'",
            append,
            "Appends to a grain that is a list; convert makes one of a single value.",
            "grains.append roles web",
        ),
        Function::new(
            "delkey",
            "key, force=False",
            delkey,
            "Removes a grain.",
            "grains.delkey roles",
        ),
        Function::new(
            "delval",
            "key, destructive=False, force=False",
            delval,
            "Sets a grain to None, or removes it when destructive is set.",
            "grains.delval roles",
        ),
        Function::new(
            "equals",
            "key, value",
            equals,
            "Whether a grain has that value, compared as text.",
            "grains.equals systemd:version 245",
        ),
        Function::new(
            "fetch",
            "key, default='', delimiter=':', ordered=True",
            get,
            "Another name of grains.get.",
            "grains.fetch pkg:apache",
        ),
        Function::new(
            "filter_by",
            "lookup_dict, grain='os_family', merge=None, default='default', base=None",
            filter_by,
            "Chooses from a mapping by the value of a grain; keys are shell patterns. base is a \
             key whose value lies below the chosen one, merge a mapping that lies above it.",
            "grains.filter_by '{Debian: apache2, default: httpd}'",
        ),
        Function::new(
            "get",
            "key, default='', delimiter=':', ordered=True",
            get,
            "Returns a grain, or default. The key may lead into mappings: a:b:c.",
            "grains.get pkg:apache",
        ),
        Function::new(
            "has_value",
            "key",
            has_value,
            "Whether there is a grain of that name.",
            "grains.has_value pkg:apache",
        ),
        Function::new(
            "item",
            "*args, **kwargs",
            item,
            "Returns the named grains; takes default, delimiter and sanitize.",
            "grains.item os osrelease",
        )
        .shown_as("nested"),
        Function::new(
            "items",
            "sanitize=False",
            items,
            "Returns all grains; sanitize hides names and serial numbers.",
            "grains.items",
        )
        .shown_as("nested"),
        Function::new("ls", "", ls, "Lists the names of all grains.", "grains.ls"),
        Function::new(
            "remove",
            "key, val, delimiter=':'",
            remove,
            "Removes a value from a grain that is a list.",
            "grains.remove roles web",
        ),
        Function::new(
            "set",
            "key, val='', force=False, destructive=False, delimiter=':'",
            set,
            "Sets a grain, also inside of others (a:b). Lists and mappings are only replaced when \
             force is set. Returns result, changes and comment.",
            "grains.set apps:port 8080",
        ),
        Function::new(
            "setval",
            "key, val, destructive=False, refresh_pillar=True",
            setval,
            "Sets a grain in the minion's grains file.",
            "grains.setval key val\ngrains.setval roles '[web, db]'",
        )
        .shown_as("nested"),
        Function::new(
            "setvals",
            "grains, destructive=False, refresh_pillar=True",
            setvals,
            "Sets several grains in the minion's grains file.",
            "grains.setvals '{key1: val1, key2: val2}'",
        ),
    ],
};

fn get(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let found = data::find(&ctx.host().grains(), &args.text("key"), &delimiter(&args));
    Ok(found.unwrap_or_else(|| args.take("default")))
}

fn has_value(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(data::find(&ctx.host().grains(), &args.text("key"), ":").is_some()))
}

fn sanitize(grains: &mut Map) {
    for (name, shown) in [
        ("domain", "DOMAINNAME"),
        ("fqdn", "MINION.DOMAINNAME"),
        ("id", "MINION.DOMAINNAME"),
        ("host", "MINION"),
        ("localhost", "MINION"),
        ("nodename", "MINION"),
    ] {
        if let Some(value) = grains.get_mut(name) {
            *value = Value::from(shown);
        }
    }
    if let Some(Value::Str(serial)) = grains.get_mut("serialnumber") {
        let all = serial.chars().count();
        let kept = all * 3 / 4;
        *serial = serial.chars().take(kept).chain("X".repeat(all - kept).chars()).collect();
    }
}

fn items(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut grains = (*ctx.host().grains()).clone();
    if is_true(args.get("sanitize")) {
        sanitize(&mut grains);
    }
    Ok(Value::Map(grains))
}

fn item(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let grains = ctx.host().grains();
    let default = args.kwargs.get("default").cloned().unwrap_or_else(|| Value::from(""));
    let delimiter = args.kwargs.get_str("delimiter").unwrap_or(":");
    let mut found: Map = args
        .varargs
        .iter()
        .map(|key| {
            let value = data::find(&grains, &to_text(key), delimiter);
            (key.clone(), value.unwrap_or_else(|| default.clone()))
        })
        .collect();
    if args.kwargs.get("sanitize").is_some_and(is_true) {
        sanitize(&mut found);
    }
    Ok(Value::Map(found))
}

fn ls(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let mut names: Vec<String> = ctx.host().grains().keys().map(to_text).collect();
    names.sort();
    Ok(names.into())
}

fn equals(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let value = data::find(&ctx.host().grains(), &args.text("key"), ":");
    let own = value.map_or(String::new(), |v| to_text(&v));
    Ok(Value::Bool(own == to_text(args.get("value"))))
}

fn filter_by(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    data::filter_by(&args, &args.text("grain"), &ctx.host().grains())
}

/// `<conf_dir>/grains`, where static grains are kept.
fn grains_file(ctx: &Context<'_>) -> Result<PathBuf, Error> {
    let conf =
        ctx.opt_str("conf_file").ok_or_else(|| Error::exec("the option 'conf_file' is not set"))?;
    let conf = Path::new(&conf);
    let dir = if conf.is_dir() { Some(conf) } else { conf.parent() };
    Ok(dir.unwrap_or(Path::new("/etc/salt")).join("grains"))
}

/// Changes the grains file. `Err` is the text Salt returns as if it were a result.
fn store(
    ctx: &Context<'_>,
    new: &Map,
    destructive: bool,
    refresh_pillar: bool,
) -> Result<Result<Value, String>, Error> {
    let path = grains_file(ctx)?;
    let mut grains = match std::fs::read_to_string(&path) {
        Ok(text) => match yaml::load(&text) {
            Ok(value) => value.into_map().unwrap_or_default(),
            Err(e) => return Ok(Err(format!("Unable to read existing grains file: {e}"))),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(e) => return Err(Error::exec(format!("{} cannot be read: {e}", path.display()))),
    };
    for (key, value) in new {
        if value.is_nil() && destructive {
            grains.remove_value(key);
        } else {
            grains.insert(key.clone(), value.clone());
        }
    }
    let mode = path.metadata().map_or(0o644, |m| m.permissions().mode() & 0o7777);
    atomic_file::write(&path, yaml::dump(&Value::Map(grains)).as_bytes(), mode)
        .map_err(|e| Error::exec(format!("{} cannot be written: {e}", path.display())))?;
    ctx.host().refresh(Refresh::Grains, true);
    if refresh_pillar && !ctx.host().is_local() {
        ctx.host().refresh(Refresh::Pillar, false);
    }
    Ok(Ok(Value::Map(new.clone())))
}

fn setvals(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let Value::Map(new) = args.get("grains") else {
        return Err(Error::Exception(
            "SaltException: setvals grains must be a dictionary.".to_owned(),
        ));
    };
    let done = store(ctx, new, args.truthy("destructive"), args.truthy("refresh_pillar"))?;
    Ok(done.unwrap_or_else(Value::from))
}

fn setval(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let new = Map::from([(args.take("key"), args.take("val"))]);
    let done = store(ctx, &new, args.truthy("destructive"), args.truthy("refresh_pillar"))?;
    Ok(done.unwrap_or_else(Value::from))
}

/// Puts `value` at `key` inside of what is there, and stores the outermost grain.
fn store_inside(
    ctx: &Context<'_>,
    key: &str,
    mut value: Value,
    delimiter: &str,
) -> Result<Value, Error> {
    let grains = ctx.host().grains();
    let mut key = key;
    while let Some((outer, last)) = key.rsplit_once(delimiter) {
        let mut around = match data::find(&grains, outer, delimiter) {
            Some(Value::Map(map)) => map,
            _ => Map::new(),
        };
        around.insert(last, value);
        value = Value::Map(around);
        key = outer;
    }
    let done = store(ctx, &Map::from([(key, value)]), false, true)?;
    Ok(done.unwrap_or_else(Value::from))
}

fn append(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let (key, delimiter) = (args.text("key"), delimiter(&args));
    let mut list = match data::find(&ctx.host().grains(), &key, &delimiter) {
        None => Vec::new(),
        Some(Value::List(list)) => list,
        Some(Value::Nil) if args.truthy("convert") => Vec::new(),
        Some(one) if args.truthy("convert") => vec![one],
        Some(_) => return Ok(Value::from(format!("The key {key} is not a valid list"))),
    };
    let val = args.take("val");
    if list.contains(&val) {
        let shown = to_text(&val);
        return Ok(Value::from(format!("The val {shown} was already in the list {key}")));
    }
    match val {
        Value::List(more) => list.extend(more),
        one => list.push(one),
    }
    store_inside(ctx, &key, Value::List(list), &delimiter)
}

fn remove(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (key, delimiter, val) = (args.text("key"), delimiter(&args), args.get("val"));
    let list = data::find(&ctx.host().grains(), &key, &delimiter)
        .unwrap_or_else(|| Value::List(Vec::new()));
    let Value::List(mut list) = list else {
        return Ok(Value::from(format!("The key {key} is not a valid list")));
    };
    let Some(at) = list.iter().position(|v| v == val) else {
        let shown = to_text(val);
        return Ok(Value::from(format!("The val {shown} was not in the list {key}")));
    };
    list.remove(at);
    store_inside(ctx, &key, Value::List(list), &delimiter)
}

fn delkey(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    set_value(ctx, &args.text("key"), Value::Nil, args.truthy("force"), true, ":")
}

fn delval(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let (force, destructive) = (args.truthy("force"), args.truthy("destructive"));
    set_value(ctx, &args.text("key"), Value::Nil, force, destructive, ":")
}

fn set(ctx: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    let (key, delimiter) = (args.text("key"), delimiter(&args));
    let (force, destructive) = (args.truthy("force"), args.truthy("destructive"));
    let val = args.take("val");
    set_value(ctx, &key, val, force, destructive, &delimiter)
}

fn answer(result: bool, comment: String, changes: Value) -> Value {
    Value::Map(Map::from([
        ("comment", Value::from(comment)),
        ("changes", changes),
        ("result", Value::Bool(result)),
    ]))
}

fn set_value(
    ctx: &Context<'_>,
    key: &str,
    val: Value,
    force: bool,
    destructive: bool,
    delimiter: &str,
) -> Result<Value, Error> {
    let nothing = || Value::Map(Map::new());
    let complex = |v: &Value| matches!(v, Value::Map(_) | Value::List(_));
    let grains = ctx.host().grains();
    let existing = data::find(&grains, key, delimiter);
    if existing.as_ref() == Some(&val) && !(val.is_nil() && destructive) {
        return Ok(answer(true, "Grain is already set".to_owned(), nothing()));
    }
    if let Some(existing) = existing.filter(|v| !v.is_nil() && !force) {
        let reason = if complex(&existing) {
            Some("exists but is a dict or a list")
        } else if complex(&val) {
            Some("exists and the given value is a dict or a list")
        } else {
            None
        };
        if let Some(reason) = reason {
            let text = format!("The key '{key}' {reason}. Use 'force=True' to overwrite.");
            return Ok(answer(false, text, nothing()));
        }
    }
    let (mut key, mut value) = (key, val);
    while let Some((outer, last)) = key.rsplit_once(delimiter) {
        let around = data::find(&grains, outer, delimiter);
        value = match put(around, last, value, force, destructive) {
            Ok(value) => value,
            Err(existing) => {
                let text = format!(
                    "The key '{outer}' value is '{}', which is different from the provided key \
                     '{last}'. Use 'force=True' to overwrite.",
                    to_text(&existing)
                );
                return Ok(answer(false, text, nothing()));
            }
        };
        key = outer;
    }
    Ok(match store(ctx, &Map::from([(key, value)]), destructive, true)? {
        Ok(changes) => answer(true, String::new(), changes),
        Err(comment) => answer(false, comment, nothing()),
    })
}

/// Puts a member into what is around it; `Err` gives back a value that leaves no room for one.
fn put(
    around: Option<Value>,
    last: &str,
    value: Value,
    force: bool,
    destructive: bool,
) -> Result<Value, Value> {
    match around.unwrap_or_else(|| Value::Map(Map::new())) {
        Value::Map(mut map) => {
            if value.is_nil() && destructive {
                map.remove(last);
            } else {
                map.insert(last, value);
            }
            Ok(Value::Map(map))
        }
        Value::List(mut list) => {
            let mut updated = false;
            for item in &mut list {
                if item.as_str() == Some(last) {
                    *item = Value::Map(Map::from([(last, value.clone())]));
                    updated = true;
                } else if let Value::Map(map) = item
                    && map.contains_key(last)
                {
                    map.insert(last, value.clone());
                    updated = true;
                }
            }
            if !updated {
                list.push(Value::Map(Map::from([(last, value)])));
            }
            Ok(Value::List(list))
        }
        other if other.as_str() == Some(last) || force => {
            Ok(Value::Map(Map::from([(last, value)])))
        }
        other => Err(other),
    }
}

#[cfg(test)]
mod tests;
