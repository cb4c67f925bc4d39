//! Who may publish what: `publisher_acl` and its blacklist for users of this host, `peer` for
//! minions. Everything not allowed is refused; a list of functions needs every one allowed.

use saltern_target::{Expression, Options, Subject, expr_match};
use saltern_value::{Map, Value};

use crate::targets::Targets;

/// Python's `re.match`: the pattern at the start of the text. A broken pattern matches nothing.
pub(crate) fn python_match(pattern: &str, text: &str) -> bool {
    let subject = Subject { id: text, grains: None, pillar: None };
    Expression::parse("pcre", &Value::from(pattern), &Options::default())
        .is_ok_and(|expression| expression.matches(&subject))
}

/// Whether `publisher_acl_blacklist` names the user or one of the functions.
pub(crate) fn blacklisted(blacklist: &Map, user: &str, funs: &[&str]) -> bool {
    let names = |list: &str, text: &str| {
        let patterns = blacklist.get(list).and_then(Value::as_list).unwrap_or_default();
        patterns.iter().filter_map(Value::as_str).any(|pattern| expr_match(text, pattern))
    };
    names("users", user) || funs.iter().any(|fun| names("modules", fun))
}

/// The rules of all entries whose name fits, for `publisher_acl` (globs or expressions on users).
pub(crate) fn user_rules<'a>(acl: &'a Map, user: &str) -> Vec<&'a Value> {
    rules(acl, |name| expr_match(user, name))
}

/// The same for `peer` (Python expressions on minion ids).
pub(crate) fn peer_rules<'a>(acl: &'a Map, id: &str) -> Vec<&'a Value> {
    rules(acl, |name| python_match(name, id))
}

fn rules(acl: &Map, fits: impl Fn(&str) -> bool) -> Vec<&Value> {
    acl.iter()
        .filter(|(name, _)| name.as_str().is_some_and(&fits))
        .flat_map(|(_, rules)| rules.as_list().unwrap_or_default())
        .collect()
}

/// The names in a job's `fun`.
pub(crate) fn functions(fun: &Value) -> Vec<&str> {
    match fun {
        Value::List(funs) => funs.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

/// Whether the rules allow all functions on all minions of a job. A rule is an expression on the
/// function, or `{target: [expressions]}`: then every minion must be meant by that target.
/// `saltutil.find_job` is always allowed: the tools follow their own jobs with it.
pub(crate) fn allowed(
    rules: &[&Value],
    funs: &[&str],
    minions: &[String],
    targets: &Targets,
) -> bool {
    let on = |target: &str| {
        let target = Value::from(target);
        minions.iter().all(|id| targets.means(&target, "compound", id))
    };
    let fits = |rule: &Value, fun: &str| match rule {
        Value::Str(pattern) => python_match(pattern, fun),
        Value::Map(by_target) => by_target.iter().any(|(target, patterns)| {
            let patterns = match patterns {
                Value::List(list) => list.as_slice(),
                one => std::slice::from_ref(one),
            };
            patterns.iter().filter_map(Value::as_str).any(|p| python_match(p, fun))
                && target.as_str().is_some_and(on)
        }),
        _ => false,
    };
    !funs.is_empty()
        && funs
            .iter()
            .all(|fun| *fun == "saltutil.find_job" || rules.iter().any(|rule| fits(rule, fun)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_at_the_start() {
        assert!(python_match("test", "test.ping"));
        assert!(!python_match("ping", "test.ping"));
        assert!(!python_match("(", "test.ping"));
    }

    #[test]
    fn blacklists_name_users_and_functions() {
        let list = |items: &[&str]| Value::List(items.iter().map(|i| Value::from(*i)).collect());
        let blacklist =
            Map::from([("users", list(&["mal*"])), ("modules", list(&["cmd.*", "state.sls"]))]);
        assert!(blacklisted(&blacklist, "mallory", &["test.ping"]));
        assert!(blacklisted(&blacklist, "bob", &["test.ping", "cmd.run"]));
        assert!(!blacklisted(&blacklist, "bob", &["test.ping"]));
    }

    #[test]
    fn rules_are_found_by_name() {
        let acl = Map::from([("bo.*", Value::List(vec!["test.*".into()]))]);
        assert_eq!(user_rules(&acl, "bob"), [&Value::from("test.*")]);
        assert!(user_rules(&acl, "alice").is_empty());
        assert_eq!(peer_rules(&acl, "bobby").len(), 1);
    }
}
