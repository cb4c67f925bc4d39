//! `nested`: the outputter of everything that has no other one.

use saltern_value::{Map, Value, pyrepr};

use crate::Options;
use crate::color::Palette;
use crate::text;

/// Prints a value from column `indent` on.
pub(crate) fn render(data: &Value, options: &Options, indent: usize) -> String {
    let colors = Palette::new(options.color);
    let frame = if options.retcode == 0 { colors.cyan } else { colors.red };
    let list_mark = if options.retcode == 0 { colors.green } else { colors.red };
    let mut printer =
        Printer { colors, frame, list_mark, strip: options.strip_colors, lines: Vec::new() };
    printer.value(data, indent, "");
    printer.lines.join("\n")
}

struct Printer {
    colors: Palette,
    /// Colour of keys and rules.
    frame: &'static str,
    list_mark: &'static str,
    strip: bool,
    lines: Vec<String>,
}

impl Printer {
    fn line(&mut self, indent: usize, color: &str, prefix: &str, text: &str, suffix: &str) {
        let end = self.colors.end;
        self.lines.push(format!("{:indent$}{color}{prefix}{text}{end}{suffix}", ""));
    }

    fn value(&mut self, value: &Value, indent: usize, prefix: &str) {
        match value {
            Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_) => {
                self.line(indent, self.colors.light_yellow, prefix, &pyrepr::repr(value), "");
            }
            Value::Str(text) => self.text(text, indent, prefix),
            // Bytes that are no text have no form here; Salt prints nothing either.
            Value::Bytes(bytes) => {
                if let Ok(text) = std::str::from_utf8(bytes) {
                    self.text(text, indent, prefix);
                }
            }
            Value::List(items) => self.list(items, indent),
            Value::Map(map) => self.map(map, indent, prefix),
        }
    }

    fn text(&mut self, text: &str, indent: usize, prefix: &str) {
        let blank = " ".repeat(prefix.chars().count());
        for (i, line) in text::lines(text).enumerate() {
            let prefix = if i == 0 { prefix } else { &blank };
            if self.strip {
                self.line(indent, self.colors.green, prefix, &text::without_escapes(line), "");
            } else {
                self.line(indent, self.colors.green, prefix, line, "");
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for item in items {
            match item {
                Value::Map(_) | Value::List(_) => {
                    self.line(indent, self.list_mark, "", "|_", "");
                    let prefix = if matches!(item, Value::Map(_)) { "" } else { "- " };
                    self.value(item, indent + 2, prefix);
                }
                _ => self.value(item, indent, "- "),
            }
        }
    }

    fn map(&mut self, map: &Map, indent: usize, prefix: &str) {
        if indent > 0 {
            self.line(indent, self.frame, "", "----------", "");
        }
        for (key, member) in sorted(map) {
            self.line(indent, self.frame, prefix, &key, ":");
            self.value(member, indent + 4, "");
        }
    }
}

/// Members in Python's order of the keys; keys that cannot be compared, in order of their text.
fn sorted(map: &Map) -> Vec<(String, &Value)> {
    if pyrepr::comparable(map.keys()) {
        let mut members: Vec<_> = map.iter().collect();
        members.sort_by(|(a, _), (b, _)| pyrepr::compare(a, b));
        return members.into_iter().map(|(k, v)| (pyrepr::str(k), v)).collect();
    }
    // Two keys with the same text are one here, and the last one counts.
    let by_text: std::collections::BTreeMap<String, &Value> =
        map.iter().map(|(k, v)| (pyrepr::str(k), v)).collect();
    by_text.into_iter().collect()
}
