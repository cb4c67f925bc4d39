//! Grain and pillar targets: `key:key:pattern` against nested data (Salt's `subdict_match`).

use std::cell::Cell;
use std::sync::OnceLock;

use saltern_value::{Map, Value, pyrepr, yaml};

use crate::{Glob, Regex};

/// Comparisons one match may take. Wildcards at several levels multiply; what takes longer than this
/// is no match.
const STEPS: u32 = 100_000;

/// The delimiter inside of wildcard patterns is always this one, whatever the target's is.
const INNER: &str = ":";

/// How the last part is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Glob,
    Pcre,
    Exact,
}

/// A compiled `key:key:pattern`.
#[derive(Debug)]
pub(crate) struct PathPattern {
    expr: String,
    delimiter: String,
    mode: Mode,
    /// Every tail of `expr` that may be a pattern, by its offset; compiled when it is first needed.
    tails: Vec<(usize, OnceLock<Tail>)>,
}

#[derive(Debug)]
enum Tail {
    Glob(Glob),
    Regex(Regex),
    Exact(String),
    /// No regular expression: matches nothing.
    Bad,
}

impl Tail {
    fn new(pattern: &str, mode: Mode) -> Self {
        // Case does not count: both sides are lowered, the pattern before it is read.
        let pattern = pattern.to_lowercase();
        match mode {
            Mode::Glob => Tail::Glob(Glob::new(&pattern)),
            Mode::Exact => Tail::Exact(pattern),
            Mode::Pcre => Regex::new(&pattern).map_or(Tail::Bad, Tail::Regex),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Tail::Glob(glob) => glob.matches(text),
            Tail::Regex(regex) => regex.matches(text),
            Tail::Exact(want) => want == text,
            Tail::Bad => false,
        }
    }
}

impl PathPattern {
    /// `None` when the expression lacks the delimiter, which can match nothing.
    pub(crate) fn new(expr: &str, delimiter: &str, mode: Mode) -> Option<Self> {
        if delimiter.is_empty() || !expr.contains(delimiter) {
            return None;
        }
        let after =
            |d: &'_ str| expr.match_indices(d).map(|(i, d)| i + d.len()).collect::<Vec<_>>();
        let mut offsets = after(delimiter);
        offsets.extend(after(INNER));
        offsets.push(0);
        offsets.sort_unstable();
        offsets.dedup();
        let tails = offsets.into_iter().map(|offset| (offset, OnceLock::new())).collect();
        Some(PathPattern { expr: expr.to_owned(), delimiter: delimiter.to_owned(), mode, tails })
    }

    /// Whether grains or pillar match.
    pub(crate) fn matches(&self, data: &Map) -> bool {
        let walk = Walk { pattern: self, steps: Cell::new(STEPS) };
        walk.paths(Data::Map(data), 0, &self.delimiter)
    }

    /// The only member of the data that is looked at; `None` when it may be any.
    pub(crate) fn root(&self) -> Option<&str> {
        self.expr.split(&*self.delimiter).next().filter(|key| *key != "*")
    }

    fn tail(&self, offset: usize) -> &str {
        self.expr.get(offset..).unwrap_or_default()
    }
}

/// A mapping without the `Value` around it, or any value.
#[derive(Clone, Copy)]
enum Data<'a> {
    Map(&'a Map),
    Other(&'a Value),
}

impl<'a> From<&'a Value> for Data<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Map(map) => Data::Map(map),
            other => Data::Other(other),
        }
    }
}

struct Walk<'p> {
    pattern: &'p PathPattern,
    steps: Cell<u32>,
}

impl Walk<'_> {
    /// Tries the longest key first: `a:b:c` is `c` at `a:b`, then `b:c` at `a`.
    fn paths(&self, data: Data<'_>, from: usize, delimiter: &str) -> bool {
        let expr = self.pattern.tail(from);
        for (cut, _) in expr.match_indices(delimiter).collect::<Vec<_>>().into_iter().rev() {
            if !self.step() {
                return false;
            }
            let key = expr.get(..cut).unwrap_or_default();
            // Below a star at the top, everything is looked at with the whole expression.
            let (found, tail) = if key == "*" {
                (Some(data), from)
            } else {
                (traverse(data, key, delimiter), from + cut + delimiter.len())
            };
            let matched = match found {
                None => false,
                Some(Data::Map(map)) => !map.is_empty() && self.map(map, tail),
                Some(Data::Other(Value::List(items))) => items.iter().any(|item| {
                    item.as_map().is_some_and(|map| self.map(map, tail)) || self.value(item, tail)
                }),
                Some(Data::Other(value)) => self.value(value, tail),
            };
            if matched {
                return true;
            }
        }
        false
    }

    fn map(&self, map: &Map, offset: usize) -> bool {
        if !self.step() {
            return false;
        }
        let wildcard = self.pattern.tail(offset).starts_with("*:");
        let offset = offset + if wildcard { 2 } else { 0 };
        let pattern = self.pattern.tail(offset);
        if pattern == "*" || map.contains_key(pattern) || self.paths(Data::Map(map), offset, INNER)
        {
            return true;
        }
        wildcard
            && map.values().any(|member| match member {
                Value::Map(map) => self.map(map, offset),
                Value::List(items) => items.iter().any(|item| self.value(item, offset)),
                other => self.value(other, offset),
            })
    }

    fn value(&self, value: &Value, offset: usize) -> bool {
        if !self.step() {
            return false;
        }
        let text = pyrepr::str(value).to_lowercase();
        let pattern = self.pattern;
        match pattern.tails.binary_search_by_key(&offset, |(o, _)| *o) {
            Ok(i) => pattern.tails.get(i).is_some_and(|(_, tail)| {
                tail.get_or_init(|| Tail::new(pattern.tail(offset), pattern.mode)).matches(&text)
            }),
            Err(_) => Tail::new(pattern.tail(offset), pattern.mode).matches(&text),
        }
    }

    fn step(&self) -> bool {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(1));
        left > 0
    }
}

/// Follows `key` (several joined by the delimiter) through mappings and lists.
fn traverse<'a>(data: Data<'a>, key: &str, delimiter: &str) -> Option<Data<'a>> {
    key.split(delimiter).try_fold(data, |data, key| match data {
        Data::Map(map) => member(map, key),
        Data::Other(Value::List(items)) => element(items, key),
        Data::Other(_) => None,
    })
}

fn member<'a>(map: &'a Map, key: &str) -> Option<Data<'a>> {
    if let Some(found) = map.get(key) {
        return Some(found.into());
    }
    // Keys that YAML reads as numbers or truth values are found by their text.
    let plain = key.starts_with(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let loaded = plain.then(|| yaml::load(key).ok()).flatten()?;
    if matches!(loaded, Value::Int(_) | Value::Float(_) | Value::Bool(_)) {
        return map.get_value(&loaded).map(Data::from);
    }
    None
}

fn element<'a>(items: &'a [Value], key: &str) -> Option<Data<'a>> {
    let Ok(index) = key.trim().parse::<i64>() else {
        return items.iter().find_map(|item| item.get(key)).map(Data::from);
    };
    let by_number =
        items.iter().filter_map(Value::as_map).find_map(|map| map.get_value(&Value::Int(index)));
    let len = i64::try_from(items.len()).ok()?;
    let index = if index < 0 { index + len } else { index };
    by_number.or_else(|| items.get(usize::try_from(index).ok()?)).map(Data::from)
}
