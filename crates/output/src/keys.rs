//! `key`, what `salt-key` lists, and `no_return`, minions that did not answer.

use saltern_value::{Value, pyrepr};

use crate::Options;
use crate::color::Palette;
use crate::text;

/// Prints keys by their state (`minions`, `minions_pre`, `minions_denied`, `minions_rejected`,
/// `local`): a list of ids, or a mapping of ids to fingerprints. `None` for any other state.
pub(crate) fn render(data: &Value, options: &Options) -> Option<String> {
    let colors = Palette::new(options.color);
    let end = colors.end;
    let mut states: Vec<(&str, &Value)> = Vec::new();
    for (state, ids) in data.as_map()? {
        states.push((state.as_str()?, ids));
    }
    states.sort_by_key(|(state, _)| *state);
    let mut out = String::new();
    for (state, ids) in states {
        let (title, head, body) = match state {
            "minions" => ("Accepted Keys:", colors.light_green, colors.green),
            "minions_pre" => ("Unaccepted Keys:", colors.light_red, colors.red),
            "minions_denied" => ("Denied Keys:", colors.light_magenta, colors.magenta),
            "minions_rejected" => ("Rejected Keys:", colors.light_blue, colors.blue),
            "local" => ("Local Keys:", colors.light_magenta, colors.magenta),
            _ => return None,
        };
        out.push_str(&format!("{head}{title}{end}\n"));
        for (id, fingerprint) in entries(ids)? {
            let id = if options.strip_colors { text::without_escapes(&id) } else { id };
            match fingerprint {
                Some(fingerprint) => {
                    let fingerprint = pyrepr::str(fingerprint);
                    out.push_str(&format!("{body}{id}:  {fingerprint}{end}\n"));
                }
                None => out.push_str(&format!("{body}{id}{end}\n")),
            }
        }
    }
    Some(out)
}

fn entries(ids: &Value) -> Option<Vec<(String, Option<&Value>)>> {
    let mut entries: Vec<(String, Option<&Value>)> = match ids {
        Value::List(ids) => ids.iter().map(|id| (pyrepr::str(id), None)).collect(),
        Value::Map(map) => map.iter().map(|(id, f)| (pyrepr::str(id), Some(f))).collect(),
        _ => return None,
    };
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(entries)
}

/// Prints minions and why nothing came from them, in red.
pub(crate) fn no_return(data: &Value, options: &Options) -> String {
    let mut out = String::new();
    no_return_into(&mut out, data, Palette::new(options.color), 0);
    out
}

fn no_return_into(out: &mut String, data: &Value, colors: Palette, indent: usize) {
    let end = colors.end;
    match data {
        Value::Str(text) => {
            for line in text.split('\n') {
                out.push_str(&format!("{}{:indent$}{line}{end}\n", colors.red, ""));
            }
        }
        Value::Map(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by(|(a, _), (b, _)| pyrepr::compare(a, b));
            for (key, member) in members {
                let key = pyrepr::str(key);
                out.push_str(&format!("{}{:indent$}{key}{end}:\n", colors.cyan, ""));
                no_return_into(out, member, colors, indent + 4);
            }
        }
        _ => {}
    }
}
