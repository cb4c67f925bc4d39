//! `match`: does this minion (or another one's id) fit a target.

use saltern_target::{Options, Subject};
use saltern_value::{Map, Value};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::data;
use crate::error::Error;
use crate::registry::{Function, Module};

macro_rules! matcher {
    ($name:literal, $signature:literal, $doc:literal, $example:literal) => {
        Function::new($name, $signature, |ctx, args| matches($name, ctx, &args), $doc, $example)
    };
}

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "match",
    doc: "Try targets on this minion.",
    functions: &[
        matcher!(
            "compound",
            "tgt, minion_id=None",
            "Whether a compound expression fits.",
            "match.compound 'L@cheese,foo and *'"
        ),
        Function::new(
            "filter_by",
            "lookup, tgt_type='compound', minion_id=None, merge=None, merge_lists=False, \
             default='default'",
            filter_by,
            "Returns the first value whose key, a target, fits.",
            "match.filter_by '{foo*: Foo, bar*: Bar}' minion_id=bar03",
        ),
        matcher!(
            "glob",
            "tgt, minion_id=None",
            "Whether a shell pattern fits the id.",
            "match.glob 'web*'"
        ),
        matcher!(
            "grain",
            "tgt, delimiter=':'",
            "Whether a grain has a value, given as shell pattern.",
            "match.grain 'os:Ubuntu'"
        ),
        matcher!(
            "grain_pcre",
            "tgt, delimiter=':'",
            "Whether a grain has a value, given as regular expression.",
            "match.grain_pcre 'os:Fedo.*'"
        ),
        matcher!(
            "ipcidr",
            "tgt",
            "Whether the minion has an address, or one in a network.",
            "match.ipcidr 192.168.44.0/24"
        ),
        matcher!(
            "list",
            "tgt, minion_id=None",
            "Whether the id is in a list.",
            "match.list server1,server2"
        ),
        matcher!(
            "pcre",
            "tgt, minion_id=None",
            "Whether a regular expression fits the id.",
            "match.pcre '.*'"
        ),
        matcher!(
            "pillar",
            "tgt, delimiter=':'",
            "Whether a pillar key has a value, given as shell pattern.",
            "match.pillar 'cheese:foo'"
        ),
        matcher!(
            "pillar_pcre",
            "tgt, delimiter=':'",
            "Whether a pillar key has a value, given as regular expression.",
            "match.pillar_pcre 'cheese:(swiss|american)'"
        ),
        Function::new(
            "search_by",
            "lookup, tgt_type='compound', minion_id=None",
            search_by,
            "Returns the keys whose lists hold a target that fits; None without any.",
            "match.search_by '{web: [node1*, node2*], db: [node2*]}'",
        ),
    ],
};

/// Asks one matcher. What cannot be read fits nobody, as in Salt.
fn fits(ctx: &Context<'_>, tgt_type: &str, tgt: &Value, id: Option<&str>, delim: &str) -> bool {
    let (opts, grains, pillar) = (ctx.host().opts(), ctx.host().grains(), ctx.host().pillar());
    let own = opts.get_str("id").unwrap_or_default();
    let nodegroups = opts.get("nodegroups").and_then(Value::as_map);
    let options = Options { delimiter: delim, nodegroups };
    let subject = Subject { id: id.unwrap_or(own), grains: Some(&*grains), pillar: Some(&*pillar) };
    saltern_target::matches(tgt_type, tgt, &options, &subject)
}

fn matches(tgt_type: &str, ctx: &Context<'_>, args: &Bound) -> Result<Value, Error> {
    let id = args.opt_text("minion_id");
    let delimiter = data::delimiter(args);
    Ok(Value::Bool(fits(ctx, tgt_type, args.get("tgt"), id.as_deref(), &delimiter)))
}

fn filter_by(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let Value::Map(lookup) = args.get("lookup") else {
        return Err(Error::invalid("lookup must be a dictionary"));
    };
    let (id, tgt_type) = (args.opt_text("minion_id"), args.text("tgt_type"));
    let found = lookup.iter().find(|(key, _)| fits(ctx, &tgt_type, key, id.as_deref(), ":"));
    let Some((_, value)) = found else {
        return Ok(lookup.get_value(args.get("default")).cloned().unwrap_or_default());
    };
    match (args.get("merge"), value) {
        (above, value) if !above.truthy() => Ok(value.clone()),
        (Value::Map(above), Value::Nil) => Ok(Value::Map(above.clone())),
        (Value::Map(above), Value::Map(own)) => {
            let mut all: Map = own.clone();
            saltern_value::merge::deep(&mut all, above.clone(), args.truthy("merge_lists"));
            Ok(Value::Map(all))
        }
        _ => Err(Error::Exception(
            "SaltException: filter_by merge argument must be a dictionary.".to_owned(),
        )),
    }
}

fn search_by(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let Value::Map(lookup) = args.get("lookup") else {
        return Err(Error::invalid("lookup must be a dictionary"));
    };
    let (id, tgt_type) = (args.opt_text("minion_id"), args.text("tgt_type"));
    let mut found = Vec::new();
    for (key, targets) in lookup {
        for target in targets.as_list().unwrap_or_default() {
            if fits(ctx, &tgt_type, &Value::from(to_text(target)), id.as_deref(), ":") {
                found.push(key.clone());
            }
        }
    }
    Ok(if found.is_empty() { Value::Nil } else { Value::List(found) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use saltern_value::pyrepr::repr;

    use super::*;
    use crate::testing::{TestHost, run_on};

    fn shown(fun: &str, args: &[&str]) -> String {
        let mut host = TestHost::new();
        host.grains = Map::from([("os", "Ubuntu")]);
        repr(&run_on(&Arc::new(host), fun, args).value)
    }

    #[test]
    fn targets_are_tried_on_this_minion() {
        assert_eq!(shown("match.glob", &["m*"]), "True");
        assert_eq!(shown("match.glob", &["x*", "xy"]), "True");
        assert_eq!(shown("match.list", &["m0,m1"]), "True");
        assert_eq!(shown("match.grain", &["os:ubuntu"]), "True");
        assert_eq!(shown("match.compound", &["G@os:Ubuntu and not m2"]), "True");
        assert_eq!(shown("match.pcre", &["x.*"]), "False");
    }

    #[test]
    fn values_are_chosen_by_target() {
        assert_eq!(
            shown("match.filter_by", &["{x*: 1, m*: {a: 2}}", "merge={b: 3}"]),
            "{'a': 2, 'b': 3}"
        );
        assert_eq!(shown("match.filter_by", &["{x*: 1, default: 5}"]), "5");
        assert_eq!(shown("match.search_by", &["{web: [m1, x], db: [y]}"]), "['web']");
        assert_eq!(shown("match.search_by", &["{db: [y]}"]), "None");
    }
}
