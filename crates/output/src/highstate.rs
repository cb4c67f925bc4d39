//! `highstate`: the results of state runs, one block a state and a summary a minion.
//!
//! Functions return `None` for data that is no state run; the caller prints it with `nested`, as
//! Salt does.

mod state;
mod summary;

use saltern_value::{Map, Value, pyrepr};

use crate::color::Palette;
use crate::pprint::pformat;
use crate::{Options, text};
use state::State;
use summary::Summary;

pub(crate) fn render(data: &Value, options: &Options) -> Option<String> {
    output(data, options, 1)
}

/// Takes the wrapping of `lookup_jid` and of orchestration off.
fn unwrapped(data: &Value) -> &Value {
    let mut data = data;
    for wrapper in ["return", "data"] {
        data = data.get(wrapper).unwrap_or(data);
    }
    if let Some(map) = data.as_map().filter(|m| m.len() == 1)
        && let Some(Value::Map(only)) = map.values().next()
        && only.contains_key("jid")
        && only.contains_key("fun")
    {
        return only.get("return").and_then(|r| r.get("data")).unwrap_or(data);
    }
    data
}

fn output(data: &Value, options: &Options, level: usize) -> Option<String> {
    let hosts = match unwrapped(data) {
        Value::Str(text) => return Some(text.clone()),
        Value::Nil => return Some("None".to_owned()),
        Value::Map(map) => map,
        _ => return None,
    };
    let masters = hosts.keys().filter_map(Value::as_str).filter(|k| k.ends_with("_master")).count();
    let orchestration = masters == 1 && hosts.contains_key("retcode");
    let mut out = Vec::new();
    for (host, data) in hosts {
        if !(orchestration && host.as_str() == Some("retcode")) {
            out.push(format_host(&pyrepr::str(host), data, options, level)?.0);
        }
    }
    Some(out.join("\n"))
}

/// One minion's block, and whether anything changed there.
fn format_host(
    host: &str,
    data: &Value,
    options: &Options,
    level: usize,
) -> Option<(String, bool)> {
    let colors = Palette::new(options.color);
    let end = colors.end;
    let mut color = colors.green;
    let mut lines = Vec::new();
    let mut changed = false;
    match data {
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => {
            lines.push(format!("{color}    {}{end}", pyrepr::repr(data)));
            color = colors.cyan;
            changed = true;
        }
        Value::Str(text) => {
            lines.extend(text::lines(text).map(|line| format!("{color}    {line}{end}")));
            color = colors.cyan;
            changed = true;
        }
        Value::List(errors) => {
            color = colors.light_red;
            lines.push(format!("    {color}Data failed to compile:{end}"));
            for error in errors {
                let error = pyrepr::str(error);
                let error =
                    if options.strip_colors { text::without_escapes(&error) } else { error };
                lines.push(format!("{color}----------\n    {error}{end}"));
            }
        }
        Value::Map(states) => {
            let mut block = Block { options, colors, color, lines, summary: Summary::default() };
            block.states(states, level)?;
            block.lines.extend(block.summary.lines(host, options, colors));
            changed = block.summary.changed > 0;
            (color, lines) = (block.color, block.lines);
        }
        _ => {}
    }
    let host = if options.strip_colors { text::without_escapes(host) } else { host.to_owned() };
    lines.insert(0, format!("{color}{host}:{end}"));
    Some((lines.join("\n"), changed))
}

/// The states of one minion as they are printed.
struct Block<'o> {
    options: &'o Options,
    colors: Palette,
    /// Of the minion's name: that of the worst state.
    color: &'static str,
    lines: Vec<String>,
    summary: Summary,
}

impl Block<'_> {
    fn states(&mut self, states: &Map, level: usize) -> Option<()> {
        let mut run: Vec<(&str, &Map)> = Vec::new();
        for (name, info) in states {
            let (Some(name), Some(info)) = (name.as_str(), info.as_map()) else { continue };
            if name != "changes" && !info.is_empty() && !info.contains_key("__run_num__") {
                let info = pformat(&Value::Map(info.clone()), 1);
                self.lines
                    .insert(0, format!("This result has no place in the order of states:\n{info}"));
            }
            if info.contains_key("result") {
                run.push((name, info));
            }
        }
        let number = |info: &Map| info.get("__run_num__").and_then(Value::as_int).unwrap_or(0);
        run.sort_by_key(|(_, info)| number(info));
        for (name, info) in run {
            self.state(name, info, level)?;
        }
        Some(())
    }

    fn state(&mut self, name: &str, info: &Map, level: usize) -> Option<()> {
        let state = State::new(name, info, self.options)?;
        self.summary.count(&state);
        let (changed, changes) = self.changes(&state, level)?;
        self.summary.changed += usize::from(changed);
        let quiet = self.options.state_output_diff || !self.options.state_verbose;
        if quiet && state.result.truthy() && !changed {
            return Some(());
        }
        let color = match state.result {
            Value::Bool(false) => {
                self.color = self.colors.red;
                self.colors.red
            }
            Value::Nil => {
                self.color = self.colors.light_yellow;
                self.colors.light_yellow
            }
            _ if changed => self.colors.cyan,
            _ => self.colors.green,
        };
        if is_terse(self.options, state.result, changed) {
            self.lines.push(state.terse(color, self.colors, self.options)?);
            return Some(());
        }
        self.lines.extend(state.full(color, self.colors, self.options)?);
        self.lines.push(format!("{color}     Changes:   {changes}{}", self.colors.end));
        if let Some(warnings) = state.warnings() {
            self.summary.warnings += 1;
            let (color, end) = (self.colors.light_red, self.colors.end);
            self.lines.push(format!("   {color} Warnings: {}{end}", warnings?));
        }
        Some(())
    }

    /// Whether a state changed something, and the text behind `Changes:`.
    fn changes(&self, state: &State<'_>, level: usize) -> Option<(bool, String)> {
        if matches!(state.name(), Some("state.orch" | "state.orchestrate" | "state.sls")) {
            let nested = output(state.changes, self.options, level + 1)?;
            let margin = " ".repeat(14 * level);
            let text = format!("\n{nested}").replace('\n', &format!("\n{margin}"));
            return Some((true, format!("{margin}{text}")));
        }
        let changes = match state.changes {
            changes if !changes.truthy() => return Some((false, String::new())),
            Value::Map(changes) => changes,
            other => return Some((true, format!("Invalid Changes data: {}", pyrepr::str(other)))),
        };
        let inner = changes.get("ret").filter(|ret| !ret.is_nil());
        match inner {
            Some(ret) if changes.get_str("out") == Some("highstate") => {
                let mut text = String::new();
                let mut changed = false;
                for (host, data) in ret.as_map()? {
                    let (block, any) = format_host(&pyrepr::str(host), data, self.options, 1)?;
                    let block: Vec<String> =
                        text::lines(&block).map(|l| format!("{:14}{l}", "")).collect();
                    text.push('\n');
                    text.push_str(&block.join("\n"));
                    changed |= any;
                }
                Some((changed, text))
            }
            _ => {
                let plain = Options { retcode: 0, ..self.options.clone() };
                let nested = crate::nested::render(state.changes, &plain, 14);
                Some((true, format!("\n{}", text::rstrip(&nested))))
            }
        }
    }
}

/// Whether `state_output` wants one line for a state.
fn is_terse(options: &Options, result: &Value, changed: bool) -> bool {
    let mode = options.state_output.to_lowercase();
    mode.starts_with("terse")
        || (mode.starts_with("mixed") && *result != Value::Bool(false))
        || (mode.starts_with("changes") && result.truthy() && !changed)
}
