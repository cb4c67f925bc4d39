//! Which type a plain scalar has: YAML 1.1's rules in PyYAML's reading of them.

/// The tags of YAML 1.1 that Salt's loader builds values from, and the two that only work in keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Str,
    Binary,
    Timestamp,
    Merge,
    Value,
    Seq,
    Map,
    Set,
    Omap,
    Pairs,
    /// `!!python/unicode`, what Python 2 wrote for text.
    Unicode,
    /// Any other one: refused when a value is built.
    Other(String),
}

const PREFIX: &str = "tag:yaml.org,2002:";

impl Tag {
    /// The tag a document spells out.
    pub(super) fn explicit(tag: &str) -> Tag {
        match tag.strip_prefix(PREFIX) {
            Some("null") => Tag::Null,
            Some("bool") => Tag::Bool,
            Some("int") => Tag::Int,
            Some("float") => Tag::Float,
            Some("str") => Tag::Str,
            Some("binary") => Tag::Binary,
            Some("timestamp") => Tag::Timestamp,
            Some("merge") => Tag::Merge,
            Some("value") => Tag::Value,
            Some("seq") => Tag::Seq,
            Some("map") => Tag::Map,
            Some("set") => Tag::Set,
            Some("omap") => Tag::Omap,
            Some("pairs") => Tag::Pairs,
            Some("python/unicode") => Tag::Unicode,
            _ => Tag::Other(tag.to_owned()),
        }
    }

    /// The tag as a person would have to write it, for messages.
    pub(super) fn name(&self) -> String {
        let short = match self {
            Tag::Null => "null",
            Tag::Bool => "bool",
            Tag::Int => "int",
            Tag::Float => "float",
            Tag::Str => "str",
            Tag::Binary => "binary",
            Tag::Timestamp => "timestamp",
            Tag::Merge => "merge",
            Tag::Value => "value",
            Tag::Seq => "seq",
            Tag::Map => "map",
            Tag::Set => "set",
            Tag::Omap => "omap",
            Tag::Pairs => "pairs",
            Tag::Unicode => "python/unicode",
            Tag::Other(tag) => {
                return tag
                    .strip_prefix(PREFIX)
                    .map_or_else(|| tag.clone(), |short| format!("!!{short}"));
            }
        };
        format!("!!{short}")
    }
}

/// The tag of an untagged plain scalar.
pub(super) fn plain(text: &str) -> Tag {
    let b = text.as_bytes();
    match b.first() {
        None => Tag::Null,
        Some(b'~') if b.len() == 1 => Tag::Null,
        Some(b'<') if text == "<<" => Tag::Merge,
        Some(b'=') if b.len() == 1 => Tag::Value,
        Some(b'+' | b'-' | b'.' | b'0'..=b'9') => number(text),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O') => word(text),
        _ => Tag::Str,
    }
}

fn word(text: &str) -> Tag {
    match text {
        "null" | "Null" | "NULL" => Tag::Null,
        "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "true" | "True" | "TRUE" | "false"
        | "False" | "FALSE" | "on" | "On" | "ON" | "off" | "Off" | "OFF" => Tag::Bool,
        _ => Tag::Str,
    }
}

fn number(text: &str) -> Tag {
    let b = text.as_bytes();
    // "." alone starts no number, "-" alone neither: every rule below wants a digit or a word.
    if is_float(b) {
        Tag::Float
    } else if is_int(b) {
        Tag::Int
    } else if is_timestamp(b) {
        Tag::Timestamp
    } else {
        Tag::Str
    }
}

fn unsigned(b: &[u8]) -> &[u8] {
    match b {
        [b'+' | b'-', rest @ ..] => rest,
        _ => b,
    }
}

/// How many bytes at the start satisfy `f`.
fn run(b: &[u8], f: impl Fn(u8) -> bool) -> usize {
    b.iter().take_while(|c| f(**c)).count()
}

fn digit_or_underscore(c: u8) -> bool {
    c.is_ascii_digit() || c == b'_'
}

fn is_float(b: &[u8]) -> bool {
    let u = unsigned(b);
    if matches!(u, b".inf" | b".Inf" | b".INF") || matches!(b, b".nan" | b".NaN" | b".NAN") {
        return true;
    }
    // ".5" takes no sign, "5." does.
    if let [b'.', rest @ ..] = b {
        return rest.first().is_some_and(u8::is_ascii_digit)
            && exponent_or_end(&rest[run(rest, digit_or_underscore)..]);
    }
    if !u.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let rest = &u[run(u, digit_or_underscore)..];
    let (rest, sixties) = sexagesimal(rest);
    let [b'.', rest @ ..] = rest else { return false };
    let rest = &rest[run(rest, digit_or_underscore)..];
    if sixties { rest.is_empty() } else { exponent_or_end(rest) }
}

fn exponent_or_end(b: &[u8]) -> bool {
    match b {
        [] => true,
        [b'e' | b'E', b'+' | b'-', digits @ ..] => {
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Skips `:59:59`; tells whether there was any.
fn sexagesimal(mut b: &[u8]) -> (&[u8], bool) {
    let mut any = false;
    loop {
        b = match b {
            [b':', b'0'..=b'5', b'0'..=b'9', rest @ ..] | [b':', b'0'..=b'9', rest @ ..] => rest,
            _ => return (b, any),
        };
        any = true;
    }
}

fn is_int(b: &[u8]) -> bool {
    let all = |b: &[u8], f: fn(u8) -> bool| !b.is_empty() && b.iter().all(|c| f(*c));
    match unsigned(b) {
        [b'0'] => true,
        [b'0', b'b', rest @ ..] => all(rest, |c| matches!(c, b'0' | b'1' | b'_')),
        [b'0', b'x', rest @ ..] => all(rest, |c| c.is_ascii_hexdigit() || c == b'_'),
        [b'0', rest @ ..] => all(rest, |c| matches!(c, b'0'..=b'7' | b'_')),
        u @ [b'1'..=b'9', ..] => sexagesimal(&u[run(u, digit_or_underscore)..]).0.is_empty(),
        _ => false,
    }
}

/// Dates and times only need to be known to be told from text when a text is printed; Salt reads
/// them as text.
fn is_timestamp(b: &[u8]) -> bool {
    let digits = |b: &[u8], min: usize, max: usize| {
        let n = run(b, |c| c.is_ascii_digit()).min(max);
        (n >= min).then_some(n)
    };
    let date = |lo: usize| -> Option<usize> {
        let y = digits(b, 4, 4)?;
        let b1 = b.get(y..)?.strip_prefix(b"-")?;
        let m = digits(b1, lo, 2)?;
        let b2 = b1.get(m..)?.strip_prefix(b"-")?;
        let d = digits(b2, lo, 2)?;
        Some(y + 1 + m + 1 + d)
    };
    if date(2) == Some(b.len()) {
        return true;
    }
    date(1).and_then(|n| b.get(n..)).is_some_and(|rest| is_time_part(rest).is_some())
}

fn is_time_part(b: &[u8]) -> Option<()> {
    let blank = |c: u8| c == b' ' || c == b'\t';
    let two = |b: &[u8]| b.len() >= 2 && b[..2].iter().all(u8::is_ascii_digit);
    let b = match b {
        [b'T' | b't', rest @ ..] => rest,
        _ => {
            let n = run(b, blank);
            if n == 0 {
                return None;
            }
            b.get(n..)?
        }
    };
    let hours = run(b, |c| c.is_ascii_digit());
    let b = (1..=2).contains(&hours).then(|| b.get(hours..)).flatten()?.strip_prefix(b":")?;
    let b = two(b).then(|| b.get(2..)).flatten()?.strip_prefix(b":")?;
    let mut b = two(b).then(|| b.get(2..)).flatten()?;
    if let [b'.', rest @ ..] = b {
        b = rest.get(run(rest, |c| c.is_ascii_digit())..)?;
    }
    if b.is_empty() {
        return Some(());
    }
    let b = b.get(run(b, blank)..)?;
    if b == b"Z" {
        return Some(());
    }
    let [b'+' | b'-', zone @ ..] = b else { return None };
    let hours = run(zone, |c| c.is_ascii_digit());
    let rest = (1..=2).contains(&hours).then(|| zone.get(hours..)).flatten()?;
    match rest {
        [] => Some(()),
        [b':', minutes @ ..] if minutes.len() == 2 && two(minutes) => Some(()),
        _ => None,
    }
}
