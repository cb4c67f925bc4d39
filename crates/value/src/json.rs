//! JSON as Python's `json` module prints it.

use crate::{Map, Value, pyrepr};

/// Why a text is not JSON, or a value cannot be printed as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong, and where.
    pub message: String,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JsonError {}

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Spaces a level; `None` prints one line.
    pub indent: Option<usize>,
    /// Keys in Python's order instead of insertion.
    pub sort_keys: bool,
    /// Escape everything that is not ASCII.
    pub ensure_ascii: bool,
}

/// Reads one JSON text. Numbers of any size are kept.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    let parsed: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| JsonError { message: format!("this is no JSON: {e}") })?;
    Ok(from_serde(parsed))
}

fn from_serde(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(b),
        serde_json::Value::Number(n) => number(&n.to_string()),
        serde_json::Value::String(s) => Value::Str(s),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(from_serde).collect()),
        serde_json::Value::Object(members) => {
            members.into_iter().map(|(key, member)| (key, from_serde(member))).collect()
        }
    }
}

fn number(text: &str) -> Value {
    if text.contains(['.', 'e', 'E']) {
        return Value::Float(text.parse().unwrap_or(f64::NAN));
    }
    match text.parse::<i64>() {
        Ok(i) => Value::Int(i),
        Err(_) => Value::Big(text.into()),
    }
}

/// Prints a value as Salt does: insertion order, text as it is (no `\u` but for control
/// characters). A key Python would refuse is printed as its `repr()`.
#[must_use]
pub fn to_string(value: &Value, indent: Option<usize>) -> String {
    let mut writer = Writer::new(Style { indent, ..Style::default() });
    writer.value(value, 0);
    writer.out
}

/// Prints a value in a style of choice. Fails where Python does: on a key that is neither text,
/// number, truth value nor null, and on keys that cannot be sorted.
pub fn write(value: &Value, style: Style) -> Result<String, JsonError> {
    let mut writer = Writer::new(style);
    writer.value(value, 0);
    match writer.refused {
        Some(message) => Err(JsonError { message }),
        None => Ok(writer.out),
    }
}

struct Writer {
    style: Style,
    out: String,
    refused: Option<String>,
}

impl Writer {
    fn new(style: Style) -> Self {
        Writer { style, out: String::new(), refused: None }
    }

    fn value(&mut self, value: &Value, level: usize) {
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) => self.out.push_str(&i.to_string()),
            Value::Big(digits) => self.out.push_str(digits),
            Value::Float(f) => self.out.push_str(&float(*f)),
            Value::Str(text) => self.text(text),
            // Salt prints what JSON does not know by its repr().
            Value::Bytes(_) => self.text(&pyrepr::repr(value)),
            Value::List(items) => {
                self.group('[', ']', items.len(), level, |w, i| {
                    if let Some(item) = items.get(i) {
                        w.value(item, level + 1);
                    }
                });
            }
            Value::Map(map) => {
                let members = self.members(map);
                self.group('{', '}', members.len(), level, |w, i| {
                    if let Some((key, member)) = members.get(i) {
                        w.key(key);
                        w.out.push_str(": ");
                        w.value(member, level + 1);
                    }
                });
            }
        }
    }

    fn members<'v>(&mut self, map: &'v Map) -> Vec<(&'v Value, &'v Value)> {
        let mut members: Vec<_> = map.iter().collect();
        if self.style.sort_keys {
            if pyrepr::comparable(map.keys()) {
                members.sort_by(|(a, _), (b, _)| pyrepr::compare(a, b));
            } else {
                self.refused = Some("keys of different types cannot be sorted".to_owned());
            }
        }
        members
    }

    fn group(
        &mut self,
        open: char,
        close: char,
        len: usize,
        level: usize,
        mut item: impl FnMut(&mut Self, usize),
    ) {
        self.out.push(open);
        for i in 0..len {
            if i > 0 {
                self.out.push_str(if self.style.indent.is_some() { "," } else { ", " });
            }
            self.line(level + 1);
            item(self, i);
        }
        if len > 0 {
            self.line(level);
        }
        self.out.push(close);
    }

    fn line(&mut self, level: usize) {
        if let Some(indent) = self.style.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * level));
        }
    }

    fn key(&mut self, key: &Value) {
        match key {
            Value::Str(text) => self.text(text),
            Value::Nil => self.out.push_str("\"null\""),
            Value::Bool(b) => self.out.push_str(if *b { "\"true\"" } else { "\"false\"" }),
            Value::Int(_) | Value::Big(_) => self.text(&pyrepr::repr(key)),
            Value::Float(f) => self.text(&float(*f)),
            Value::Bytes(_) | Value::List(_) | Value::Map(_) => {
                self.refused = Some(format!("a {} cannot be a key in JSON", key.type_name()));
                self.text(&pyrepr::repr(key));
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\0'..='\u{1f}' => self.escape(c),
                c if self.style.ensure_ascii && !(' '..='~').contains(&c) => self.escape(c),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn escape(&mut self, c: char) {
        let mut units = [0u16; 2];
        for unit in c.encode_utf16(&mut units) {
            self.out.push_str(&format!("\\u{unit:04x}"));
        }
    }
}

fn float(f: f64) -> String {
    if f.is_nan() {
        "NaN".to_owned()
    } else if f.is_infinite() {
        if f > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        pyrepr::float(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_python() {
        let v = parse(r#"{"a": [1, 2.50, "é\n\u0001"], "b": {}, "c": [], "d": null}"#).unwrap();
        assert_eq!(
            to_string(&v, None),
            "{\"a\": [1, 2.5, \"é\\n\\u0001\"], \"b\": {}, \"c\": [], \"d\": null}"
        );
        assert_eq!(
            to_string(&v, Some(2)),
            "{\n  \"a\": [\n    1,\n    2.5,\n    \"é\\n\\u0001\"\n  ],\n  \"b\": {},\n  \"c\": [],\n  \"d\": null\n}"
        );
        let ascii = Style { ensure_ascii: true, ..Style::default() };
        assert_eq!(
            write(&Value::from("é😀\u{7f}"), ascii).unwrap(),
            r#""\u00e9\ud83d\ude00\u007f""#
        );
    }

    #[test]
    fn keys_python_refuses_are_an_error_and_still_printable() {
        let mut m = Map::from([(true, 1), (false, 2)]);
        m.insert(Value::Nil, 3);
        assert_eq!(to_string(&m.clone().into(), None), r#"{"true": 1, "false": 2, "null": 3}"#);
        assert!(write(&m.clone().into(), Style { sort_keys: true, ..Style::default() }).is_err());
        m.insert(Value::Bytes(vec![1]), 4);
        assert!(write(&m.into(), Style::default()).is_err());
    }

    #[test]
    fn big_numbers_survive() {
        let v = parse("[18446744073709551616, -0, 1e400]").unwrap();
        assert_eq!(to_string(&v, None), "[18446744073709551616, 0, Infinity]");
    }
}
