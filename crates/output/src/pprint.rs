//! `pprint`: values as Python's `pprint.pformat` breaks them into lines of 80 columns.

use std::cmp::Ordering;

use saltern_value::{Map, Value, pyrepr};

use crate::text::{is_space, lines_with_ends};
use crate::{Indent, Options};

const WIDTH: isize = 80;

/// The outputter; `None` for an indentation it does not know.
pub(crate) fn render(data: &Value, options: &Options) -> Option<String> {
    match options.indent {
        Some(Indent::Line | Indent::Pretty) => None,
        Some(Indent::Spaces(n)) => Some(pformat(data, usize::try_from(n).unwrap_or(1))),
        None => Some(pformat(data, 1)),
    }
}

/// Python's `pprint.pformat(value, indent=indent)`.
pub(crate) fn pformat(value: &Value, indent: usize) -> String {
    let mut printer = Printer { per_level: indent as isize, out: String::new() };
    printer.format(value, 0, 0, 0);
    printer.out
}

struct Printer {
    per_level: isize,
    out: String,
}

fn width(text: &str) -> isize {
    text.chars().count() as isize
}

impl Printer {
    /// `indent`: the column it starts in; `allowance`: columns to leave for what closes behind it.
    fn format(&mut self, value: &Value, indent: isize, allowance: isize, level: usize) {
        let repr = sorted_repr(value);
        if width(&repr) > WIDTH - indent - allowance {
            match value {
                Value::Map(map) => return self.map(map, indent, allowance + 1, level + 1),
                Value::List(items) => return self.list(items, indent, allowance + 1, level + 1),
                Value::Str(text) => return self.text(text, indent, allowance, level + 1),
                Value::Bytes(bytes) => return self.bytes(bytes, indent, allowance, level + 1),
                _ => {}
            }
        }
        self.out.push_str(&repr);
    }

    fn spaces(&mut self, n: isize) {
        self.out.extend(std::iter::repeat_n(' ', usize::try_from(n).unwrap_or(0)));
    }

    fn new_line(&mut self, indent: isize) {
        self.out.push('\n');
        self.spaces(indent);
    }

    fn map(&mut self, map: &Map, indent: isize, allowance: isize, level: usize) {
        self.out.push('{');
        self.spaces(self.per_level - 1);
        let indent = indent + self.per_level;
        let members = sorted(map);
        for (i, (key, member)) in members.iter().enumerate() {
            let last = i + 1 == members.len();
            let key = sorted_repr(key);
            self.out.push_str(&key);
            self.out.push_str(": ");
            let allowance = if last { allowance } else { 1 };
            self.format(member, indent + width(&key) + 2, allowance, level);
            if !last {
                self.out.push(',');
                self.new_line(indent);
            }
        }
        self.out.push('}');
    }

    fn list(&mut self, items: &[Value], indent: isize, allowance: isize, level: usize) {
        self.out.push('[');
        self.spaces(self.per_level - 1);
        let indent = indent + self.per_level;
        for (i, item) in items.iter().enumerate() {
            let last = i + 1 == items.len();
            if i > 0 {
                self.out.push(',');
                self.new_line(indent);
            }
            self.format(item, indent, if last { allowance } else { 1 }, level);
        }
        self.out.push(']');
    }

    /// A long text becomes several, one below the other; at the top in parentheses.
    fn text(&mut self, text: &str, indent: isize, allowance: isize, level: usize) {
        if text.is_empty() {
            self.out.push_str("''");
            return;
        }
        let top = level == 1;
        let (indent, allowance) = (indent + isize::from(top), allowance + isize::from(top));
        let chunks = text_chunks(text, WIDTH - indent, allowance);
        if let [only] = chunks.as_slice() {
            self.out.push_str(only);
            return;
        }
        self.chunks(&chunks, indent, top);
    }

    fn bytes(&mut self, bytes: &[u8], indent: isize, allowance: isize, level: usize) {
        if bytes.len() <= 4 {
            self.out.push_str(&bytes_repr(bytes));
            return;
        }
        let top = level == 1;
        let (indent, allowance) = (indent + isize::from(top), allowance + isize::from(top));
        let mut max = WIDTH - indent;
        let last = bytes.len() / 4 * 4;
        let mut chunks = Vec::new();
        let mut current: Vec<u8> = Vec::new();
        for (i, part) in bytes.chunks(4).enumerate() {
            if i * 4 == last {
                max -= allowance;
            }
            let candidate = [current.as_slice(), part].concat();
            if width(&bytes_repr(&candidate)) > max {
                if !current.is_empty() {
                    chunks.push(bytes_repr(&current));
                }
                current = part.to_vec();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(bytes_repr(&current));
        }
        self.chunks(&chunks, indent, top);
    }

    fn chunks(&mut self, chunks: &[String], indent: isize, parentheses: bool) {
        if parentheses {
            self.out.push('(');
        }
        for (i, chunk) in chunks.iter().enumerate() {
            if i > 0 {
                self.new_line(indent);
            }
            self.out.push_str(chunk);
        }
        if parentheses {
            self.out.push(')');
        }
    }
}

fn bytes_repr(bytes: &[u8]) -> String {
    pyrepr::repr(&Value::Bytes(bytes.to_vec()))
}

fn text_repr(text: &str) -> String {
    pyrepr::repr(&Value::from(text))
}

/// Cuts a text at its lines, and lines that are too long between words.
fn text_chunks(text: &str, max: isize, allowance: isize) -> Vec<String> {
    let mut chunks = Vec::new();
    let lines = lines_with_ends(text);
    for (i, line) in lines.iter().enumerate() {
        let last_line = i + 1 == lines.len();
        let repr = text_repr(line);
        if width(&repr) <= max - if last_line { allowance } else { 0 } {
            chunks.push(repr);
            continue;
        }
        let parts = words_with_spaces(line);
        let mut max = max;
        let mut current = String::new();
        for (j, part) in parts.iter().enumerate() {
            let candidate = format!("{current}{part}");
            if last_line && j + 1 == parts.len() {
                max -= allowance;
            }
            if width(&text_repr(&candidate)) > max {
                if !current.is_empty() {
                    chunks.push(text_repr(&current));
                }
                current = (*part).to_owned();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(text_repr(&current));
        }
    }
    chunks
}

/// Words, each with the white space behind it.
fn words_with_spaces(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut in_space = false;
    for (at, c) in line.char_indices() {
        if in_space && !is_space(c) {
            parts.extend(line.get(start..at));
            start = at;
        }
        in_space = is_space(c);
    }
    parts.extend(line.get(start..));
    parts
}

fn sorted(map: &Map) -> Vec<(&Value, &Value)> {
    let mut members: Vec<_> = map.iter().collect();
    members.sort_by(|(a, _), (b, _)| order(a, b));
    members
}

/// Python's order where there is one, else that of the names of the types.
fn order(a: &Value, b: &Value) -> Ordering {
    if pyrepr::comparable([a, b]) {
        pyrepr::compare(a, b)
    } else {
        a.type_name().cmp(b.type_name())
    }
}

/// `repr()` with mappings in order of their keys.
fn sorted_repr(value: &Value) -> String {
    match value {
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(sorted_repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let members: Vec<String> = sorted(map)
                .into_iter()
                .map(|(key, member)| format!("{}: {}", sorted_repr(key), sorted_repr(member)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        other => pyrepr::repr(other),
    }
}
