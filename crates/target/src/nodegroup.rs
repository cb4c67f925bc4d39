//! Node groups: names the configuration gives to compound targets.

use saltern_value::{Map, Value, pyrepr};

use crate::TargetError;
use crate::compound::is_operator;

/// Words a group may unfold to; more is taken for a mistake in the configuration.
const MAX_WORDS: usize = 10_000;

/// The words of the compound expression a node group stands for, nested groups expanded. Joined by
/// spaces they are what a publisher sends. Nested groups that do not exist, and groups that contain
/// themselves, leave nothing behind, as in Salt.
pub fn expand_nodegroup(name: &str, nodegroups: &Map) -> Result<Vec<String>, TargetError> {
    if !nodegroups.contains_key(name) {
        return Err(TargetError::Invalid(format!(
            "there is no node group {name:?}; define it under 'nodegroups' in the configuration"
        )));
    }
    let mut seen = Vec::new();
    let words = expand(name, nodegroups, &mut seen, true);
    if words.is_empty() || words.len() > MAX_WORDS {
        return Err(TargetError::Invalid(format!("the node group {name:?} unfolds to no target")));
    }
    Ok(words)
}

/// Replaces the `N@group` words of a compound target, so that minions need not know the groups.
pub fn expand_compound(words: &[String], nodegroups: &Map) -> Result<Vec<String>, TargetError> {
    let mut out = Vec::new();
    for word in words {
        match word.strip_prefix("N@").filter(|name| !name.is_empty()) {
            Some(name) => out.extend(expand_nodegroup(name, nodegroups)?),
            None => out.push(word.clone()),
        }
    }
    Ok(out)
}

fn expand<'g>(
    name: &str,
    nodegroups: &'g Map,
    seen: &mut Vec<&'g str>,
    outermost: bool,
) -> Vec<String> {
    let Some((Value::Str(key), definition)) =
        nodegroups.iter().find(|(key, _)| key.as_str() == Some(name))
    else {
        return Vec::new();
    };
    if seen.contains(&key.as_str()) || seen.len() > 100 {
        return Vec::new();
    }
    let words: Vec<String> = match definition {
        Value::Str(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::List(items) => items.iter().map(pyrepr::str).collect(),
        _ => return Vec::new(),
    };
    seen.push(key);
    let mut nested = false;
    let mut out = Vec::new();
    for word in &words {
        match word.strip_prefix("N@").filter(|name| !name.is_empty()) {
            Some(name) => {
                nested = true;
                out.extend(expand(name, nodegroups, seen, false));
            }
            None => out.push(word.clone()),
        }
        if out.len() > MAX_WORDS {
            break;
        }
    }
    seen.pop();
    if nested && outermost {
        return parenthesized(out);
    }
    match as_one_word(&words) {
        Some(word) => vec![word],
        None if outermost => words,
        None => parenthesized(out),
    }
}

fn parenthesized(words: Vec<String>) -> Vec<String> {
    if words.is_empty() {
        return words;
    }
    let mut out = Vec::with_capacity(words.len() + 2);
    out.push("(".to_owned());
    out.extend(words);
    out.push(")".to_owned());
    out
}

/// A group that is just names, without operators, matchers and globs, is a list of ids; with
/// brackets in it, a regular expression.
fn as_one_word(words: &[String]) -> Option<String> {
    let typed = |w: &String| {
        w.contains('*') || matches!(w.as_bytes(), [letter, b'@', ..] if letter.is_ascii_uppercase())
    };
    if words.is_empty() || words.iter().any(|w| is_operator(w) || typed(w)) {
        return None;
    }
    let is_regex = words.iter().any(|w| w.contains(['(', '[', '{', '\\', '?', '}', ']', ')']));
    Some(format!("{}@{}", if is_regex { 'E' } else { 'L' }, words.join(",")))
}
