//! Look-ups several modules share: paths into mappings, and `filter_by`.

use saltern_target::Glob;
use saltern_value::{Map, Value, merge, path};

use crate::bind::{Bound, to_text};
use crate::error::Error;

/// Walks `a:b:c` through a mapping.
pub(crate) fn find(root: &Map, key: &str, delimiter: &str) -> Option<Value> {
    // A scalar root key is by far the most frequent case and needs no copy of the root.
    let (first, rest) = match key.split_once(delimiter) {
        Some((first, rest)) if !delimiter.is_empty() => (first, Some(rest)),
        _ => (key, None),
    };
    let member = root
        .get(first)
        .or_else(|| first.parse::<i64>().ok().and_then(|i| root.get_value(&Value::Int(i))))?;
    match rest {
        None => Some(member.clone()),
        Some(rest) => path::get(member, rest, delimiter).cloned(),
    }
}

/// The `delimiter` argument.
pub(crate) fn delimiter(args: &Bound) -> String {
    args.opt_text("delimiter").unwrap_or_else(|| ":".to_owned())
}

/// Recursive merge; lists are replaced.
pub(crate) fn merged(lower: &Map, upper: &Map) -> Map {
    let mut all = lower.clone();
    merge::deep(&mut all, upper.clone(), false);
    all
}

/// Salt's `filter_by`: the member of `lookup_dict` whose key, a shell pattern, matches what
/// `traverse` holds under `lookup`; then `base` below it and `merge` above it.
pub(crate) fn filter_by(args: &Bound, lookup: &str, traverse: &Map) -> Result<Value, Error> {
    let salt_error = |text: &str| Error::Exception(format!("SaltException: {text}"));
    let Value::Map(table) = args.get("lookup_dict") else {
        return Err(Error::invalid("lookup_dict must be a dictionary"));
    };
    let found = find(traverse, lookup, ":").unwrap_or_else(|| Value::List(Vec::new()));
    let candidates: Vec<String> = match &found {
        Value::List(items) => items.iter().map(to_text).collect(),
        one => vec![to_text(one)],
    };
    let mut result = candidates
        .iter()
        .find_map(|text| {
            table.iter().find(|(key, _)| Glob::new(&to_text(key)).matches(text)).map(|(_, v)| v)
        })
        .filter(|v| !v.is_nil())
        .or_else(|| table.get_value(args.get("default")))
        .cloned()
        .unwrap_or_default();
    let base = args.get("base");
    if let Some(below) = table.get_value(base).filter(|_| base.truthy()) {
        result = match (below, &result) {
            (_, Value::Nil) => below.clone(),
            (Value::Map(below), Value::Map(own)) => merged(below, own).into(),
            (Value::Map(_), _) => {
                return Err(salt_error(
                    "filter_by default and look-up values must both be dictionaries.",
                ));
            }
            _ => result,
        };
    }
    match (args.get("merge"), result) {
        (above, result) if !above.truthy() => Ok(result),
        (Value::Map(above), Value::Nil) => Ok(above.clone().into()),
        (Value::Map(above), Value::Map(own)) => Ok(merged(&own, above).into()),
        (Value::Map(_), _) => Err(salt_error("filter_by can merge only into a dictionary.")),
        _ => Err(salt_error("filter_by merge argument must be a dictionary.")),
    }
}

/// Salt's `is_true`: how a person may write yes.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Str(text) => {
            let text = text.trim().to_ascii_lowercase();
            text == "true" || text.parse::<f64>().is_ok_and(|n| n > 0.0)
        }
        Value::Int(i) => *i > 0,
        Value::Float(f) => *f > 0.0,
        other => other.truthy(),
    }
}
