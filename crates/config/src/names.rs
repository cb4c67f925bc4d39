//! Names of options: former ones, unknown ones and those without effect, each said once.

use saltern_value::{Map, Value};

use crate::known::{self, Role};
use crate::load::{Sources, specs};
use crate::nearest::nearest;
use crate::option::{Support, text_of};

/// Gives options set under a former name their present one.
pub(crate) fn rename(
    options: &mut Map,
    role: Role,
    sources: &mut Sources,
    warnings: &mut Vec<String>,
) {
    for spec in specs(role) {
        for former in spec.aliases {
            let Some(value) = options.get(former).cloned() else { continue };
            let name = spec.name;
            if options.contains_key(name) {
                warnings.push(format!(
                    "option '{former}' is the former name of '{name}', which is set too and wins"
                ));
            } else {
                warnings.push(format!("option '{former}' is now named '{name}'; rename it"));
                options.insert(name, value);
                if let Some(place) = sources.get(*former).cloned() {
                    sources.insert(name.to_owned(), place);
                }
            }
        }
    }
}

/// Warns of options that are unknown, belong to the other program or do nothing yet.
pub(crate) fn judge(options: &Map, role: Role, sources: &Sources, warnings: &mut Vec<String>) {
    for (key, value) in options {
        let Some(name) = key.as_str() else {
            warnings.push("an option's name is no text, so it is left out".to_owned());
            continue;
        };
        let Some(sentence) = sentence(name, value, role) else { continue };
        match sources.get(name) {
            Some(place) => warnings.push(format!("{place}: {sentence}")),
            None => warnings.push(sentence),
        }
    }
    backends(options, warnings);
    roots(options, warnings);
}

fn sentence(name: &str, value: &Value, role: Role) -> Option<String> {
    if let Some(spec) = specs(role).iter().find(|s| s.name == name) {
        return (spec.support == Support::Later && *value != spec.default.value())
            .then(|| no_effect(name));
    }
    if let Some(known) = known::find(role, name) {
        if known.default().as_ref() == Some(value) || known.support == Support::Moot {
            return None;
        }
        let other = role.other().name();
        return Some(if known.of_other {
            format!("option '{name}' belongs to the {other} and has no effect here")
        } else {
            no_effect(name)
        });
    }
    if specs(role.other()).iter().any(|s| s.name == name) {
        let other = role.other().name();
        return Some(format!("option '{name}' belongs to the {other} and has no effect here"));
    }
    let former = specs(role).iter().any(|s| s.aliases.contains(&name));
    // Dotted names and double underscores are settings of modules and of the program itself.
    if former || name.contains('.') || name.starts_with("__") {
        return None;
    }
    let all = specs(role).iter().map(|s| s.name).chain(known::all(role).map(|k| k.name));
    Some(match nearest(name, all) {
        Some(meant) => format!("option '{name}' is unknown; is '{meant}' meant?"),
        None => format!("option '{name}' is unknown to Salt; only config.get will see it"),
    })
}

fn no_effect(name: &str) -> String {
    format!("option '{name}' has no effect yet in Saltern")
}

fn backends(options: &Map, warnings: &mut Vec<String>) {
    let Some(Value::List(backends)) = options.get("fileserver_backend") else { return };
    for backend in backends.iter().filter_map(Value::as_str) {
        if backend != "roots" {
            warnings.push(format!(
                "option 'fileserver_backend': '{backend}' has no effect yet in Saltern, only \
                 'roots' serves files"
            ));
        }
    }
}

/// Salt takes a directory that is no list for no directory at all.
fn roots(options: &Map, warnings: &mut Vec<String>) {
    for name in ["file_roots", "pillar_roots"] {
        let Some(Value::Map(roots)) = options.get(name) else { continue };
        for (env, dirs) in roots.iter().filter(|(_, dirs)| !matches!(dirs, Value::List(_))) {
            let (env, kind) = (text_of(env), dirs.type_name());
            warnings.push(format!(
                "option '{name}': environment '{env}' needs a list of directories, not {kind}, \
                 and has none"
            ));
        }
    }
}
