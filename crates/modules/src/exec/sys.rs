//! `sys`: what functions there are.

use saltern_target::Glob;
use saltern_value::{Map, Value};

use crate::bind::{Bound, Signature, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "sys",
    doc: "Ask for the functions there are.",
    functions: &[
        Function::new(
            "argspec",
            "module=''",
            argspec,
            "Returns the parameters of functions, by module, function or shell pattern.",
            "sys.argspec test\nsys.argspec 'test.ec*'",
        ),
        Function::new(
            "doc",
            "*args",
            doc,
            "Returns the documentation of functions, by module, function or shell pattern.",
            "sys.doc\nsys.doc cmd.run 'test.*'",
        ),
        Function::new(
            "list_functions",
            "*args, **kwargs",
            list_functions,
            "Lists functions, all or by module or shell pattern.",
            "sys.list_functions\nsys.list_functions test",
        ),
        Function::new(
            "list_modules",
            "*args",
            list_modules,
            "Lists modules, all or by name or shell pattern.",
            "sys.list_modules 's*'",
        ),
        Function::new(
            "reload_modules",
            "",
            |_, _| Ok(Value::Bool(true)),
            "Returns True: there is nothing to reload.",
            "sys.reload_modules",
        ),
    ],
};

/// Whether a word names a function: by pattern, exactly, or by its module.
fn names(word: &str, function: &str) -> bool {
    if word.contains('*') {
        return Glob::new(word).matches(function);
    }
    let module = word.strip_suffix('.').unwrap_or(word);
    word.is_empty()
        || function == word
        || function.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

fn doc(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let words: Vec<String> = args.varargs.iter().map(to_text).collect();
    Ok(ctx
        .registry()
        .functions()
        .filter(|(name, _)| words.is_empty() || words.iter().any(|word| names(word, name)))
        .map(|(name, function)| (name, Value::from(function.doc_text())))
        .collect())
}

fn list_functions(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let words: Vec<String> = args.varargs.iter().map(to_text).collect();
    let wanted = |name: &str| {
        words.is_empty()
            || words.iter().any(|word| {
                if word.contains(['*', '.']) {
                    Glob::new(word).matches(name)
                } else {
                    name.strip_prefix(word.as_str()).is_some_and(|rest| rest.starts_with('.'))
                }
            })
    };
    let mut found: Vec<String> =
        ctx.registry().functions().map(|(name, _)| name).filter(|name| wanted(name)).collect();
    found.sort();
    Ok(found.into())
}

fn list_modules(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let words: Vec<String> = args.varargs.iter().map(to_text).collect();
    let wanted = |module: &str| {
        let fits = |word: &String| {
            if word.contains('*') { Glob::new(word).matches(module) } else { word == module }
        };
        words.is_empty() || words.iter().any(fits)
    };
    let mut found: Vec<&str> =
        ctx.registry().modules().iter().map(|m| m.name).filter(|m| wanted(m)).collect();
    found.sort_unstable();
    Ok(Value::List(found.into_iter().map(Value::from).collect()))
}

fn argspec(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let word = args.text("module");
    let wanted = |name: &str| {
        if word.contains(['*', '.']) {
            Glob::new(&word).matches(name)
        } else {
            name.strip_prefix(word.as_str()).is_some_and(|rest| rest.starts_with('.'))
        }
    };
    Ok(ctx
        .registry()
        .functions()
        .filter(|(name, _)| wanted(name))
        .map(|(name, function)| (name, Value::Map(spec(function))))
        .collect())
}

fn spec(function: &Function) -> Map {
    let signature = Signature::parse(function.signature);
    let or_none = |list: Vec<Value>| if list.is_empty() { Value::Nil } else { list.into() };
    let marker = |taken: Option<&str>| taken.map(|_| true);
    let (names, defaults): (Vec<_>, Vec<_>) = signature.params.into_iter().unzip();
    Map::from([
        ("args", or_none(names.into_iter().map(Value::from).collect())),
        ("defaults", or_none(defaults.into_iter().flatten().collect())),
        ("varargs", marker(signature.varargs).into()),
        ("kwargs", marker(signature.kwargs).into()),
    ])
}

#[cfg(test)]
mod tests {
    use saltern_value::pyrepr::repr;

    use super::*;
    use crate::registry::Registry;
    use crate::testing::ok;

    #[test]
    fn functions_are_listed_and_explained() {
        let modules = ok("sys.list_modules", &["s*"]);
        assert_eq!(repr(&modules), "['saltutil', 'schedule', 'state', 'status', 'sys']");
        let functions = ok("sys.list_functions", &["event"]);
        assert_eq!(repr(&functions), "['event.fire', 'event.fire_master', 'event.send']");
        let doc = ok("sys.doc", &["test.ping"]);
        assert!(doc.get("test.ping").unwrap().as_str().unwrap().contains("salt '*' test.ping"));
        assert_eq!(
            repr(&ok("sys.argspec", &["event.fire_master"])),
            "{'event.fire_master': {'args': ['data', 'tag', 'preload'], 'defaults': [None], \
             'varargs': None, 'kwargs': None}}"
        );
    }

    #[test]
    fn the_tables_are_in_order_and_complete() {
        let mut last = String::new();
        for (name, function) in Registry::standard().functions() {
            assert!(last < name, "{last} stands before {name}");
            let short = name.split_once('.').unwrap().1;
            let signature = Signature::parse(function.signature);
            for (param, _) in &signature.params {
                let plain = param.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                assert!(plain && !param.is_empty(), "{name}: {param:?}");
            }
            assert!(function.doc.ends_with('.'), "{name}: {:?}", function.doc);
            assert!(function.example.contains(&format!(".{short}")) || !function.doc.is_empty());
            last = name;
        }
    }
}
