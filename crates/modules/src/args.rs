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
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let good_start = chars.next().is_some_and(|c| word(c) && !c.is_numeric());
    if !good_start || !chars.all(|c| word(c) || c == '.' || c == '-') {
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

#[cfg(test)]
mod tests {
    use saltern_value::pyrepr::repr;

    use super::*;

    /// What Salt 3006.24's `parse_input` makes of one argument: positional ones and keywords.
    #[rustfmt::skip]
    const FROM_SALT: &[(&str, &str, &str)] = &[
        ("1", "[1]", "{}"),
        ("01", "[1]", "{}"),
        ("0x1f", "[31]", "{}"),
        ("1.5", "[1.5]", "{}"),
        ("1e3", "['1e3']", "{}"),
        ("True", "[True]", "{}"),
        ("true", "[True]", "{}"),
        ("yes", "[True]", "{}"),
        ("no", "[False]", "{}"),
        ("on", "[True]", "{}"),
        ("off", "[False]", "{}"),
        ("None", "[None]", "{}"),
        ("null", "[None]", "{}"),
        ("~", "[None]", "{}"),
        ("", "['']", "{}"),
        ("  ", "['  ']", "{}"),
        (" x ", "['x']", "{}"),
        ("a b", "['a b']", "{}"),
        ("[1, 2]", "[[1, 2]]", "{}"),
        ("{a: 1, b: [x]}", "[{'a': 1, 'b': ['x']}]", "{}"),
        ("a: 1", "['a: 1']", "{}"),
        ("- a", "['- a']", "{}"),
        ("#x", "['#x']", "{}"),
        ("a#b", "['a#b']", "{}"),
        ("a #b", "['a #b']", "{}"),
        ("[1] # c", "[[1]]", "{}"),
        ("|", "['|']", "{}"),
        ("!", "['!']", "{}"),
        ("!foo", "['!foo']", "{}"),
        ("1_000", "['1_000']", "{}"),
        ("1_2_3", "['1_2_3']", "{}"),
        ("2026-01-02", "['2026-01-02']", "{}"),
        ("2026-01-02 03:04:05", "['2026-01-02 03:04:05']", "{}"),
        ("12:30", "[750]", "{}"),
        ("1:2:3", "[3723]", "{}"),
        ("a=b", "[]", "{'a': 'b'}"),
        ("a==b", "['a==b']", "{}"),
        ("1a=2", "['1a=2']", "{}"),
        ("_a=1", "[]", "{'_a': 1}"),
        ("a.b-c=1", "[]", "{'a.b-c': 1}"),
        ("a= b", "[]", "{'a': 'b'}"),
        ("é=1", "[]", "{'é': 1}"),
        ("key=[1, 2]", "[]", "{'key': [1, 2]}"),
        ("key='x y'", "[]", "{'key': 'x y'}"),
        ("key=None", "[]", "{'key': None}"),
        ("k=a\nb", "['k=a\\nb']", "{}"),
        ("k=a\n", "[]", "{'k': 'a'}"),
        ("\ta", "['\\ta']", "{}"),
        ("---", "['---']", "{}"),
        ("...", "['...']", "{}"),
        ("'quoted'", "['quoted']", "{}"),
        ("\"q\"", "['q']", "{}"),
        ("[unclosed", "['[unclosed']", "{}"),
        ("{a", "['{a']", "{}"),
        ("@x", "['@x']", "{}"),
        ("%x", "['%x']", "{}"),
        ("&a", "[None]", "{}"),
        ("*", "['*']", "{}"),
        ("*a", "['*a']", "{}"),
        ("a: b: c", "['a: b: c']", "{}"),
        ("20260102030405000678", "[20260102030405000678]", "{}"),
        ("a,b", "['a,b']", "{}"),
        ("0.10", "[0.1]", "{}"),
        ("1.", "[1.0]", "{}"),
        ("+1", "[1]", "{}"),
        ("-1", "[-1]", "{}"),
        ("0o17", "['0o17']", "{}"),
        ("0b11", "[3]", "{}"),
        (".5", "[0.5]", "{}"),
        ("-.inf", "[-inf]", "{}"),
        (".nan", "[nan]", "{}"),
        ("<<", "['<<']", "{}"),
        ("=", "['=']", "{}"),
        ("==", "['==']", "{}"),
        ("x=", "[]", "{'x': ''}"),
        ("x= ", "[]", "{'x': ' '}"),
        ("a:b", "['a:b']", "{}"),
        ("http://x/y?z=1", "['http://x/y?z=1']", "{}"),
        ("-a=1", "['-a=1']", "{}"),
        ("x=#c", "[]", "{'x': '#c'}"),
        ("x=1 # c", "[]", "{'x': 1}"),
        ("123456789012345678901234567890", "[123456789012345678901234567890]", "{}"),
        ("!!python/object:os.system x", "['!!python/object:os.system x']", "{}"),
        ("{a: 1} # c", "[{'a': 1}]", "{}"),
        ("True # c", "[True]", "{}"),
        ("on: 1", "['on: 1']", "{}"),
        ("?", "['?']", "{}"),
        ("? a", "['? a']", "{}"),
        ("- ", "['- ']", "{}"),
        ("--- a", "['a']", "{}"),
        ("... a", "['... a']", "{}"),
    ];

    #[test]
    fn arguments_are_typed_as_salt_types_them() {
        for (text, positional, keywords) in FROM_SALT {
            let (args, kwargs) = parse_args(&[(*text).to_owned()], &[]);
            let shown = (repr(&Value::List(args)), repr(&Value::Map(kwargs)));
            assert_eq!(shown, ((*positional).to_owned(), (*keywords).to_owned()), "{text:?}");
        }
    }

    #[test]
    fn keywords_travel_in_one_marked_mapping() {
        let args = ["20260102030405000678", "a", "x=1", "y=2"].map(str::to_owned);
        let (positional, keywords) = parse_args(&args, &["y".to_owned()]);
        let list = condition_input(positional, keywords);
        assert_eq!(
            repr(&Value::List(list)),
            "['20260102030405000678', 'a', {'__kwarg__': True, 'x': 1, 'y': '2'}]"
        );
    }
}
