//! Values as Python prints them, and in the order Python sorts them.

use std::cmp::Ordering;

use crate::{Map, Value};

/// Python's `repr()` of a value.
#[must_use]
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    repr_into(&mut out, value);
    out
}

/// Python's `str()` of a value: text is itself, the rest as [`repr`].
#[must_use]
pub fn str(value: &Value) -> String {
    match value {
        Value::Str(text) => text.clone(),
        other => repr(other),
    }
}

/// Appends Python's `repr()` of a value.
pub fn repr_into(out: &mut String, value: &Value) {
    match value {
        Value::Nil => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Big(digits) => out.push_str(digits),
        Value::Float(f) => out.push_str(&float(*f)),
        Value::Str(text) => text_into(out, text),
        Value::Bytes(bytes) => bytes_into(out, bytes),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                repr_into(out, item);
            }
            out.push(']');
        }
        Value::Map(map) => map_into(out, map),
    }
}

fn map_into(out: &mut String, map: &Map) {
    out.push('{');
    for (i, (key, member)) in map.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        repr_into(out, key);
        out.push_str(": ");
        repr_into(out, member);
    }
    out.push('}');
}

/// Single quotes, unless there are some inside and no double ones.
fn quote(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn text_into(out: &mut String, text: &str) {
    let quote = quote(text.contains('\''), text.contains('"'));
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => {
                let n = u32::from(c);
                out.push_str(&match n {
                    0..=0xff => format!("\\x{n:02x}"),
                    0x100..=0xffff => format!("\\u{n:04x}"),
                    _ => format!("\\U{n:08x}"),
                });
            }
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable()` of one character.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // Debug output of the standard library escapes exactly what Python calls not printable; behind
    // another character it does not escape combining marks, which Python prints too.
    let mut buffer = [0u8; 4];
    let mut pair = String::from("a");
    pair.push_str(c.encode_utf8(&mut buffer));
    pair.escape_debug().nth(1) != Some('\\')
}

fn bytes_into(out: &mut String, bytes: &[u8]) {
    let quote = quote(bytes.contains(&b'\''), bytes.contains(&b'"'));
    out.push('b');
    out.push(quote);
    for b in bytes {
        match b {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            b if char::from(*b) == quote => {
                out.push('\\');
                out.push(quote);
            }
            b' '..=b'~' => out.push(char::from(*b)),
            b => out.push_str(&format!("\\x{b:02x}")),
        }
    }
    out.push(quote);
}

/// Python's `repr()` of a double: the shortest digits that read back as the same number, with an
/// exponent below 1e-4 and from 1e16 on.
#[must_use]
pub fn float(f: f64) -> String {
    if f.is_nan() {
        return "nan".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = shortest(f);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if f != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let decimals = digits.split_once('.').map_or(0, |(_, d)| d.len() as i32);
    let places = usize::try_from(decimals - exponent).unwrap_or(0).max(1);
    format!("{f:.places$}")
}

/// The shortest digits that read back as `f`; of two equally near ones the even one, as in Python
/// (the standard library takes the greater one).
fn shortest(f: f64) -> String {
    let any = format!("{f:e}");
    let digits = any.split_once('e').map_or(0, |(d, _)| d.trim_start_matches('-').len());
    let even = format!("{f:.*e}", digits.saturating_sub(2));
    if even.parse() == Ok(f) { even } else { any }
}

/// Whether Python can sort these: all text, all bytes, or all numbers (truth values are numbers).
pub fn comparable<'a>(values: impl IntoIterator<Item = &'a Value>) -> bool {
    let mut kinds = values.into_iter().map(|value| match value {
        Value::Str(_) => 1,
        Value::Bytes(_) => 2,
        Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_) => 3,
        Value::Nil | Value::List(_) | Value::Map(_) => 0,
    });
    match (kinds.next(), kinds.next()) {
        // One value is never compared.
        (_, None) => true,
        (Some(first), Some(second)) => first != 0 && first == second && kinds.all(|k| k == first),
        (None, Some(_)) => false,
    }
}

/// Python's order of two values that are [`comparable`]; others are equal.
#[must_use]
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        _ => {
            let number = |v: &Value| v.as_f64().or_else(|| v.as_bool().map(f64::from));
            match (number(a), number(b)) {
                (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                _ => Ordering::Equal,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_python_does() {
        for (text, want) in [
            ("abc", "'abc'"),
            ("it's", "\"it's\""),
            ("\"", "'\"'"),
            ("'\"", "'\\'\"'"),
            ("a\\b\n\t\r", "'a\\\\b\\n\\t\\r'"),
            ("\u{0}\u{7f}\u{a0}\u{ad}é", "'\\x00\\x7f\\xa0\\xadé'"),
            ("\u{200b}\u{e000}\u{10ffff}😀", "'\\u200b\\ue000\\U0010ffff😀'"),
            ("a\u{301}", "'a\u{301}'"),
        ] {
            assert_eq!(repr(&Value::from(text)), want);
        }
        assert_eq!(repr(&Value::Bytes(b"a'\xff".to_vec())), "b\"a'\\xff\"");
    }

    #[test]
    fn doubles_are_printed_as_python_does() {
        for (f, want) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::from_bits(0x4316_16d5_4dca_bc0d), "1554388719152899.2"),
            (5e-324, "5e-324"),
            (100.0, "100.0"),
            (-2.5, "-2.5"),
            (123456789.123, "123456789.123"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float(f), want);
        }
    }

    #[test]
    fn containers_nest() {
        let v = Value::from(Map::from([
            ("a", Value::List(vec![Value::Nil, Value::Bool(true), Value::Int(-3)])),
            ("b", Value::Map(Map::new())),
        ]));
        assert_eq!(repr(&v), "{'a': [None, True, -3], 'b': {}}");
    }
}
