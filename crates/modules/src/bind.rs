//! Python's way of binding arguments to parameters, with Python's messages when they do not fit.

use saltern_value::{Map, Value};

use crate::error::Error;
use crate::registry::Function;

/// A parsed signature such as `cmd, cwd=None, *args, **kwargs`.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// Named parameters with their defaults; `None` is a parameter that must be given.
    pub params: Vec<(&'static str, Option<Value>)>,
    /// Whether more positional arguments are taken.
    pub varargs: Option<&'static str>,
    /// Whether more keyword arguments are taken.
    pub kwargs: Option<&'static str>,
}

impl Signature {
    /// Parses the text of a signature. Texts come from the tables of this crate; a unit test
    /// reads them all.
    #[must_use]
    pub fn parse(text: &'static str) -> Self {
        let mut signature = Signature::default();
        for part in split_outside_quotes(text) {
            if let Some(name) = part.strip_prefix("**") {
                signature.kwargs = Some(name);
            } else if let Some(name) = part.strip_prefix('*') {
                signature.varargs = Some(name);
            } else if let Some((name, default)) = part.split_once('=') {
                signature.params.push((name, Some(literal(default))));
            } else {
                signature.params.push((part, None));
            }
        }
        signature
    }

    /// Whether a keyword argument of that name has a place.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        self.kwargs.is_some() || self.params.iter().any(|(p, _)| *p == name)
    }
}

fn split_outside_quotes(text: &'static str) -> Vec<&'static str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|p| !p.is_empty());
    parts
}

/// The Python literals that occur as defaults.
fn literal(text: &str) -> Value {
    match text {
        "None" => Value::Nil,
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "[]" | "()" => Value::List(Vec::new()),
        "{}" => Value::Map(Map::new()),
        _ => {
            if let Ok(int) = text.parse::<i64>() {
                return Value::Int(int);
            }
            if let Ok(float) = text.parse::<f64>() {
                return Value::Float(float);
            }
            Value::from(text.trim_matches('\''))
        }
    }
}

/// Arguments in their places.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    values: Vec<(&'static str, Value)>,
    given: Vec<&'static str>,
    /// What `*args` took.
    pub varargs: Vec<Value>,
    /// What `**kwargs` took.
    pub kwargs: Map,
}

static NIL: Value = Value::Nil;

impl Bound {
    /// Arguments that are all extra ones: what a function with `*args, **kwargs` gets.
    #[must_use]
    pub fn of(varargs: Vec<Value>, kwargs: Map) -> Self {
        Bound { varargs, kwargs, ..Bound::default() }
    }

    /// The argument; [`Value::Nil`] for a name the signature does not have.
    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        self.values.iter().find(|(n, _)| *n == name).map_or(&NIL, |(_, v)| v)
    }

    /// The argument, taken out.
    pub fn take(&mut self, name: &str) -> Value {
        self.values
            .iter_mut()
            .find(|(n, _)| *n == name)
            .map_or(Value::Nil, |(_, v)| std::mem::take(v))
    }

    /// Whether the function has a parameter of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(n, _)| *n == name)
    }

    /// Whether the caller gave the argument, rather than leaving it to its default.
    #[must_use]
    pub fn given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    /// The argument as text: numbers and the like as Python prints them, `None` as empty.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match self.get(name) {
            Value::Nil => String::new(),
            other => to_text(other),
        }
    }

    /// The argument as text, `None` when it is `None` or empty.
    #[must_use]
    pub fn opt_text(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|t| !t.is_empty())
    }

    /// Python's truth of the argument.
    #[must_use]
    pub fn truthy(&self, name: &str) -> bool {
        self.get(name).truthy()
    }

    /// The argument as an integer, from a number or its text.
    ///
    /// # Errors
    /// [`Error::Invocation`] that names the argument.
    pub fn int(&self, name: &str) -> Result<i64, Error> {
        to_int(self.get(name)).ok_or_else(|| {
            Error::Invocation(format!(
                "'{name}' must be an integer, not {}",
                saltern_value::pyrepr::repr(self.get(name))
            ))
        })
    }

    /// The argument as an integer, `None` when it is `None`.
    ///
    /// # Errors
    /// As [`Bound::int`].
    pub fn opt_int(&self, name: &str) -> Result<Option<i64>, Error> {
        if self.get(name).is_nil() { Ok(None) } else { self.int(name).map(Some) }
    }

    /// The argument as a list: a list itself, or a comma separated text.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<Value> {
        match self.get(name) {
            Value::Nil => Vec::new(),
            Value::List(items) => items.clone(),
            Value::Str(text) => {
                text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Value::from).collect()
            }
            other => vec![other.clone()],
        }
    }
}

/// Python's `int()` of what can be one.
pub(crate) fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Float(f) => Some(f.trunc() as i64),
        Value::Str(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// Python's `str()`.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Str(s) => s.clone(),
        Value::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        other => saltern_value::pyrepr::repr(other),
    }
}

/// Sorts published arguments into positional and keyword ones (mappings marked `__kwarg__`,
/// `key=value` texts, and `kwargs`), and refuses keywords the function does not take.
pub(crate) fn split_published(
    signature: &Signature,
    args: &[Value],
    kwargs: &Map,
) -> Result<(Vec<Value>, Map), Error> {
    let (mut positional, mut keywords, mut invalid) = (Vec::new(), Map::new(), Vec::new());
    let known = Value::Map(kwargs.clone());
    for (at, arg) in args.iter().chain([&known]).enumerate() {
        let found: Vec<(Value, Value)> = match arg {
            Value::Map(m) if at == args.len() => {
                m.clone().into_iter().filter(|(k, _)| k.as_str() != Some("__kwarg__")).collect()
            }
            Value::Map(m) if m.get("__kwarg__") == Some(&Value::Bool(true)) => m
                .iter()
                .filter(|(k, _)| k.as_str() != Some("__kwarg__"))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            Value::Str(text) => match crate::args::split_kwarg(text) {
                // Base64 often ends like this (`salt-cp`); it is no keyword then.
                Some((key, value)) if !value.is_empty() || signature.takes(key) => {
                    vec![(Value::from(key), crate::args::yamlify(value))]
                }
                _ => {
                    positional.push(arg.clone());
                    continue;
                }
            },
            _ => {
                positional.push(arg.clone());
                continue;
            }
        };
        for (key, value) in found {
            if signature.takes(&to_text(&key)) {
                keywords.insert(key, value);
            } else {
                invalid.push(format!("{}={}", to_text(&key), to_text(&value)));
            }
        }
    }
    if invalid.is_empty() {
        return Ok((positional, keywords));
    }
    Err(Error::Invocation(format!(
        "The following keyword arguments are not valid: {}",
        invalid.join(", ")
    )))
}

/// Binds arguments as Python calls a function.
pub(crate) fn bind(
    function: &Function,
    signature: Signature,
    positional: Vec<Value>,
    mut keywords: Map,
) -> Result<Bound, Error> {
    let name = function.name;
    let count = positional.len();
    let named = signature.params.len();
    if count > named && signature.varargs.is_none() {
        return Err(too_many(name, &signature, count));
    }
    let mut bound = Bound::default();
    let mut positional = positional.into_iter();
    let mut missing = Vec::new();
    for (param, default) in signature.params {
        let value = match positional.next() {
            Some(_) if keywords.contains_key(param) => {
                return Err(Error::Arguments(format!(
                    "{name}() got multiple values for argument '{param}'"
                )));
            }
            Some(value) => Some(value),
            None => keywords.remove(param),
        };
        match (value, default) {
            (Some(value), _) => {
                bound.given.push(param);
                bound.values.push((param, value));
            }
            (None, Some(default)) => bound.values.push((param, default)),
            (None, None) => missing.push(param),
        }
    }
    if !missing.is_empty() {
        return Err(lacking(name, &missing));
    }
    bound.varargs = positional.collect();
    match (signature.kwargs, keywords.keys().next()) {
        (None, Some(key)) => Err(Error::Arguments(format!(
            "{name}() got an unexpected keyword argument '{}'",
            to_text(key)
        ))),
        _ => {
            bound.kwargs = keywords;
            Ok(bound)
        }
    }
}

fn too_many(name: &str, signature: &Signature, given: usize) -> Error {
    let max = signature.params.len();
    let min = signature.params.iter().filter(|(_, d)| d.is_none()).count();
    let takes = if min == max { max.to_string() } else { format!("from {min} to {max}") };
    let plural = if max == 1 && min == max { "" } else { "s" };
    let were = if given == 1 { "was" } else { "were" };
    Error::Arguments(format!(
        "{name}() takes {takes} positional argument{plural} but {given} {were} given"
    ))
}

fn lacking(name: &str, missing: &[&str]) -> Error {
    let quoted: Vec<String> = missing.iter().map(|m| format!("'{m}'")).collect();
    let list = match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
    };
    let plural = if missing.len() == 1 { "" } else { "s" };
    Error::Arguments(format!(
        "{name}() missing {} required positional argument{plural}: {list}",
        missing.len()
    ))
}
