//! Binds what a caller sent to the named parameters of a runner or wheel function, as Python would:
//! by position, by name, with defaults. It knows nothing of what the functions do.

use saltern_value::{Map, Value};

/// The parameters of one function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    /// Names that must be given.
    pub(crate) required: &'static [&'static str],
    /// Names that may be given; a missing one is absent, the function knows its default.
    pub(crate) optional: &'static [&'static str],
    /// Whether further positional arguments are taken (`*args`).
    pub(crate) rest: bool,
    /// Whether further named arguments are taken (`**kwargs`).
    pub(crate) extra: bool,
}

impl Signature {
    /// Parameters without `*args` and `**kwargs`.
    pub(crate) const fn of(
        required: &'static [&'static str],
        optional: &'static [&'static str],
    ) -> Self {
        Signature { required, optional, rest: false, extra: false }
    }

    /// Also takes any further named arguments.
    pub(crate) const fn and_extra(mut self) -> Self {
        self.extra = true;
        self
    }

    /// Also takes any further positional arguments.
    pub(crate) const fn and_rest(mut self) -> Self {
        self.rest = true;
        self
    }
}

/// Arguments as they were sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// By position.
    pub(crate) args: Vec<Value>,
    /// By name.
    pub(crate) kwargs: Map,
}

impl Arguments {
    /// Reads Salt's `kwarg` of a `runner` or `wheel` request: either `{arg: [...], kwarg: {...}}`
    /// or the named arguments themselves. A trailing map marked `__kwarg__` joins the named ones.
    fn from_low(mut low: Map) -> Self {
        let both = matches!(low.get("arg"), Some(Value::List(_)))
            && matches!(low.get("kwarg"), Some(Value::Map(_)) | None);
        let mut out = Arguments::default();
        if both {
            if let Some(Value::List(args)) = low.remove("arg") {
                out.args = args;
            }
            if let Some(Value::Map(kwargs)) = low.remove("kwarg") {
                out.kwargs = kwargs;
            }
        }
        low.retain(|key, _| !key.as_str().is_some_and(|k| k.starts_with("__")));
        if !both {
            out.kwargs = low;
        } else {
            out.kwargs.extend(low);
        }
        out.take_marked();
        out
    }

    /// Reads the `arg` and `kwarg` of a request; without `arg`, `kwarg` may hold both.
    pub(crate) fn of(arg: Vec<Value>, kwarg: Map) -> Self {
        if arg.is_empty() {
            return Arguments::from_low(kwarg);
        }
        let mut out = Arguments { args: arg, kwargs: kwarg };
        out.take_marked();
        out
    }

    fn take_marked(&mut self) {
        let marked =
            self.args.last().is_some_and(|v| v.get("__kwarg__").is_some_and(Value::truthy));
        if !marked {
            return;
        }
        if let Some(Value::Map(mut kwargs)) = self.args.pop() {
            kwargs.remove("__kwarg__");
            self.kwargs.extend(kwargs);
        }
    }

    /// What the event of a runner shows: the positional ones, then one map of the named ones.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = self.args.clone();
        if !self.kwargs.is_empty() {
            shown.push(Value::Map(self.kwargs.clone()));
        }
        Value::List(shown)
    }

    /// Gives each argument its name.
    ///
    /// # Errors
    /// The sentence Python has for a call that does not fit, for function `name`.
    pub(crate) fn bind(self, name: &str, signature: &Signature) -> Result<Bound, String> {
        let names: Vec<&str> =
            signature.required.iter().chain(signature.optional).copied().collect();
        let mut bound = Bound::default();
        let given = self.args.len();
        let mut args = self.args.into_iter();
        for (name, value) in names.iter().zip(args.by_ref().take(names.len())) {
            bound.named.insert(*name, value);
        }
        bound.rest = args.collect();
        if !bound.rest.is_empty() && !signature.rest {
            return Err(too_many(name, signature, given));
        }
        for (key, value) in self.kwargs {
            let known = key.as_str().is_some_and(|k| names.contains(&k));
            let shown = key.as_str().unwrap_or("?");
            if known && bound.named.contains_key(shown) {
                return Err(format!("{name}() got multiple values for argument '{shown}'"));
            }
            if known {
                bound.named.insert(key, value);
            } else if signature.extra {
                bound.extra.insert(key, value);
            } else {
                return Err(format!("{name}() got an unexpected keyword argument '{shown}'"));
            }
        }
        let missing: Vec<&str> = signature
            .required
            .iter()
            .copied()
            .filter(|required| !bound.named.contains_key(required))
            .collect();
        if missing.is_empty() { Ok(bound) } else { Err(missing_text(name, &missing)) }
    }
}

/// Arguments with names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    named: Map,
    /// Positional ones beyond the names.
    pub(crate) rest: Vec<Value>,
    /// Named ones beyond the names.
    pub(crate) extra: Map,
}

impl Bound {
    /// The value under that name, unless it is absent or nil.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.named.get(name).filter(|v| !v.is_nil())
    }

    /// Text under that name; numbers count as their text because callers send `20260102…` as one.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::Str(s) => Some(s.clone()),
            Value::Int(i) => Some(i.to_string()),
            Value::Big(b) => Some(b.to_string()),
            _ => None,
        }
    }

    /// The truth of the value under that name, or `default`.
    pub(crate) fn truth(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, Value::truthy)
    }

    /// A non-negative number of seconds under that name (also when sent as text).
    pub(crate) fn seconds(&self, name: &str) -> Option<f64> {
        let value = self.get(name)?;
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        (number.is_finite() && number > 0.0).then_some(number)
    }
}

fn too_many(name: &str, signature: &Signature, given: usize) -> String {
    let (least, most) =
        (signature.required.len(), signature.required.len() + signature.optional.len());
    let takes = if least == most { most.to_string() } else { format!("from {least} to {most}") };
    let s = if most == 1 { "" } else { "s" };
    let were = if given == 1 { "was" } else { "were" };
    format!("{name}() takes {takes} positional argument{s} but {given} {were} given")
}

fn missing_text(name: &str, missing: &[&str]) -> String {
    let quoted: Vec<String> = missing.iter().map(|m| format!("'{m}'")).collect();
    let s = if quoted.len() == 1 { "" } else { "s" };
    let list = match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, [one])) => format!("{one} and {last}"),
        Some((last, rest)) => format!("{}, and {last}", rest.join(", ")),
        None => String::new(),
    };
    format!("{name}() missing {} required positional argument{s}: {list}", quoted.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JID: Signature = Signature::of(&["jid"], &["returned", "missing"]);

    fn by_position(args: &[&str]) -> Arguments {
        Arguments { args: args.iter().map(|a| Value::from(*a)).collect(), kwargs: Map::new() }
    }

    #[test]
    fn arguments_get_their_names() {
        let mut sent = by_position(&["1"]);
        sent.kwargs.insert("missing", true);
        let bound = sent.bind("lookup_jid", &JID).unwrap();
        assert_eq!(bound.text("jid").as_deref(), Some("1"));
        assert!(bound.truth("missing", false));
        assert!(bound.truth("returned", true));
    }

    #[test]
    fn calls_that_do_not_fit_are_explained() {
        let text = by_position(&[]).bind("lookup_jid", &JID).unwrap_err();
        assert_eq!(text, "lookup_jid() missing 1 required positional argument: 'jid'");
        let text = by_position(&["a", "b", "c", "d"]).bind("lookup_jid", &JID).unwrap_err();
        assert_eq!(text, "lookup_jid() takes from 1 to 3 positional arguments but 4 were given");
        let mut twice = by_position(&["1"]);
        twice.kwargs.insert("jid", "2");
        let text = twice.bind("lookup_jid", &JID).unwrap_err();
        assert_eq!(text, "lookup_jid() got multiple values for argument 'jid'");
        let mut odd = by_position(&["1"]);
        odd.kwargs.insert("nope", 1);
        let text = odd.bind("lookup_jid", &JID).unwrap_err();
        assert_eq!(text, "lookup_jid() got an unexpected keyword argument 'nope'");
    }

    #[test]
    fn both_forms_of_a_request_are_read() {
        let low: Map = [
            (
                "arg",
                Value::List(vec![
                    "x".into(),
                    Value::from_iter([("__kwarg__", Value::from(true)), ("a", 1.into())]),
                ]),
            ),
            ("kwarg", Value::from_iter([("b", 2)])),
        ]
        .into();
        let arguments = Arguments::from_low(low);
        assert_eq!(arguments.args, [Value::from("x")]);
        assert_eq!(arguments.kwargs.len(), 2);
        let named = Arguments::from_low([("jid", "1"), ("__user__", "root")].into());
        assert_eq!(named.kwargs, Map::from([("jid", "1")]));
    }
}
