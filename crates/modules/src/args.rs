//! Typing of command line arguments, as Salt's `parse_input` and `yamlify_arg` do it.

use saltern_value::{Map, Value, yaml};

/// Types what stands on a command line: positional arguments and `key=value` ones. Values of the
/// keywords in `no_parse` stay text.
#[must_use]
pub fn parse_args(args: &[String], no_parse: &[String]) -> (Vec<Value>, Map) {
    let (mut positional, mut keywords) = (Vec::new(), Map::new());
    for arg in args {
        match split_kwarg(arg) {
            Some((key, value)) if no_parse.iter().any(|n| n == key) => {
                keywords.insert(key, value);
            }
            Some((key, value)) => {
                keywords.insert(key, yamlify(value));
            }
            None => positional.push(yamlify(arg)),
        }
    }
    (positional, keywords)
}

/// The `arg` list of a publication: positional arguments (numbers that are job ids as text), then
/// the keywords in one mapping marked `__kwarg__`.
#[must_use]
pub fn condition_input(positional: Vec<Value>, keywords: Map) -> Vec<Value> {
    let is_jid = |i: i64| saltern_base::Jid::parse(&i.to_string()).is_ok();
    let mut list: Vec<Value> = positional
        .into_iter()
        .map(|value| match value {
            Value::Int(i) if is_jid(i) => Value::Str(i.to_string()),
            Value::Big(digits) if saltern_base::Jid::parse(&digits).is_ok() => {
                Value::Str(digits.into())
            }
            other => other,
        })
        .collect();
    if !keywords.is_empty() {
        let mut marked = Map::from([("__kwarg__", true)]);
        marked.extend(keywords);
        list.push(Value::Map(marked));
    }
    list
}

/// Splits `name=value`; `None` when the text is not of that form. A name starts with a letter or
/// underscore, goes on with word characters, dots and dashes, and is followed by exactly one `=`;
/// a value has no newline.
pub(crate) fn split_kwarg(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let mut chars = name.chars();
    let first = chars.next()?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if !(word(first) && !first.is_numeric()) || !chars.all(|c| word(c) || c == '.' || c == '-') {
        return None;
    }
    // `$` of the pattern also matches before one last newline, but `.*` takes none: no match then
    // either, except that the newline may be the very last character.
    let value_without_last = value.strip_suffix('\n').unwrap_or(value);
    if value.starts_with('=') || value_without_last.contains('\n') {
        return None;
    }
    Some((name, value_without_last))
}

/// Types one argument by YAML, except where that would lose what the user wrote.
#[must_use]
pub fn yamlify(text: &str) -> Value {
    let as_is = || Value::from(text);
    let trimmed = text.trim();
    if matches!(trimmed, "" | "---" | "...") || text.contains(['\t', '\r', '\n']) {
        return as_is();
    }
    if text.contains('_') && trimmed.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return as_is();
    }
    if text == "None" {
        return Value::Nil;
    }
    let Ok(value) = yaml::load(text) else { return as_is() };
    match value {
        Value::Str(_) | Value::Nil if text.contains('#') => as_is(),
        Value::Map(_) if !text.starts_with('{') && !text.contains('#') => as_is(),
        Value::List(_) if !text.starts_with('[') && !text.contains('#') => as_is(),
        Value::Str(s) if s.is_empty() && matches!(text, "|" | "!") => as_is(),
        Value::Nil if text == "!" => as_is(),
        other => other,
    }
}
