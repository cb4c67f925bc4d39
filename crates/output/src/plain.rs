//! The outputters that are a format of their own: `json`, `yaml`, `txt`, `newline_values_only`.

use saltern_value::json::Style;
use saltern_value::{Value, json, pyrepr, yaml};

use crate::pprint::pformat;
use crate::{Indent, Options, text};

/// `json`: four spaces a level unless `output_indent` says something else.
pub(crate) fn json(data: &Value, options: &Options) -> String {
    let (indent, sort_keys) = match options.indent {
        None => (Some(4), false),
        Some(Indent::Pretty) => (Some(4), true),
        Some(Indent::Line) => (None, false),
        Some(Indent::Spaces(n)) => (usize::try_from(n).ok(), false),
    };
    // What JSON has no form for makes an empty object, as in Salt.
    json::write(data, Style { indent, sort_keys, ensure_ascii: false })
        .unwrap_or_else(|_| "{}".to_owned())
}

/// `yaml`; `None` for an indentation it does not know.
pub(crate) fn yaml(data: &Value, options: &Options) -> Option<String> {
    match options.indent {
        None => Some(yaml::dump(data)),
        Some(Indent::Spaces(n)) => Some(yaml::dump_indented(data, n)),
        Some(Indent::Line | Indent::Pretty) => None,
    }
}

/// `txt`: one line of text a line, with the key in front.
pub(crate) fn txt(data: &Value) -> String {
    let mut out = String::new();
    match data {
        Value::Map(map) => {
            for (key, member) in map {
                let key = pyrepr::str(key);
                match member {
                    Value::Str(text) => {
                        for line in text::lines(text) {
                            out.push_str(&format!("{key}: {line}\n"));
                        }
                    }
                    Value::Bytes(bytes) => {
                        for line in byte_lines(bytes) {
                            let line = pyrepr::repr(&Value::Bytes(line.to_vec()));
                            out.push_str(&format!("{key}: {line}\n"));
                        }
                    }
                    other => out.push_str(&format!("{key}: {}\n", pyrepr::repr(other))),
                }
            }
        }
        Value::Str(text) => out = format!("{text}\n"),
        other => out = format!("{}\n", pformat(other, 1)),
    }
    out
}

/// Lines of bytes end in `\n`, `\r` or both, unlike lines of text.
fn byte_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        lines.push(line);
        rest = match tail {
            [b'\r', b'\n', tail @ ..] | [_, tail @ ..] => tail,
            [] => &[],
        };
    }
    lines
}

/// `newline_values_only`: what the minions returned, lists unfolded; `None` when the data is not
/// keyed by minion.
pub(crate) fn values_only(data: &Value) -> Option<String> {
    let mut lines = Vec::new();
    for member in data.as_map()?.values() {
        match member {
            Value::List(items) => lines.extend(items.iter().map(pyrepr::str)),
            other => lines.push(pyrepr::str(other)),
        }
    }
    Some(lines.join("\n"))
}
