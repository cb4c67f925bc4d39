//! One state of a run: its lines in full, or the one terse line.

use saltern_value::{Map, Value, pyrepr};

use crate::color::Palette;
use crate::wrap::fill;
use crate::{Options, text};

/// A state's result, as far as it is there.
pub(super) struct State<'a> {
    info: &'a Map,
    /// The module, the id, the name and the function of the state.
    parts: [&'a str; 4],
    pub(super) result: &'a Value,
    pub(super) changes: &'a Value,
}

impl<'a> State<'a> {
    /// `None` when the key is not `module_|-id_|-name_|-function` or something else is missing.
    pub(super) fn new(key: &'a str, info: &'a Map, options: &Options) -> Option<Self> {
        let mut parts = key.split("_|-");
        let module = parts.next()?;
        let id = parts.next()?;
        let name = parts.next()?;
        let function = parts.next()?;
        let by_id = options.state_output.to_lowercase().ends_with("_id");
        Some(State {
            info,
            parts: [module, id, if by_id { id } else { name }, function],
            result: info.get("result")?,
            changes: info.get("changes")?,
        })
    }

    /// The `name` in the result (not that of the key).
    pub(super) fn name(&self) -> Option<&str> {
        self.info.get_str("name")
    }

    /// Milliseconds it took; whether it ran beside others.
    pub(super) fn duration(&self) -> (f64, bool) {
        let milliseconds = match self.info.get("duration") {
            Some(Value::Str(text)) => {
                text.split(" ms").next().and_then(|n| n.trim().parse().ok()).unwrap_or(0.0)
            }
            Some(number) => number.as_f64().unwrap_or(0.0),
            None => 0.0,
        };
        (milliseconds, self.info.contains_key("__parallel__"))
    }

    /// Text of the warnings, when there are any; `Some(None)` when they are no list of texts.
    pub(super) fn warnings(&self) -> Option<Option<String>> {
        self.info.get("warnings").map(|warnings| {
            let texts: Option<Vec<&str>> = warnings.as_list()?.iter().map(Value::as_str).collect();
            let filled = fill(&texts?.join("\n"), 80, 14);
            Some(filled.trim_start().to_owned())
        })
    }

    fn field(&self, key: &str) -> Option<String> {
        self.info.get(key).map(pyrepr::str)
    }

    pub(super) fn full(
        &self,
        color: &str,
        colors: Palette,
        options: &Options,
    ) -> Option<Vec<String>> {
        let end = colors.end;
        let [module, id, name, function] = self.parts;
        let comment = self.comment()?;
        let mut lines = vec![
            format!("{color}----------{end}"),
            format!("    {color}      ID: {id}{end}"),
            format!("    {color}Function: {module}.{function}{end}"),
        ];
        if id != name {
            lines.push(format!("    {color}    Name: {name}{end}"));
        }
        lines.push(format!("    {color}  Result: {}{end}", pyrepr::str(self.result)));
        lines.push(format!("    {color} Comment: {comment}{end}"));
        if let Some(start) = self.field("start_time").filter(|_| options.state_output_profile) {
            let duration = self.field("duration").filter(|d| !d.is_empty());
            let duration = duration.map_or_else(String::new, |d| format!("{d} ms"));
            lines.push(format!("    {color} Started: {start}{end}"));
            lines.push(format!("    {color}Duration: {duration}{end}"));
        }
        Some(lines)
    }

    fn comment(&self) -> Option<String> {
        let comment = self.field("comment")?;
        let mut comment = text::strip(&comment).replace('\n', &format!("\n{:14}", ""));
        match self.info.get("data") {
            None => {}
            Some(Value::List(items)) => {
                for item in items {
                    comment = format!("{comment} {}", pyrepr::str(item));
                }
            }
            Some(Value::Map(map)) => {
                for (key, value) in map {
                    comment =
                        format!("{comment}\n\t\t{}: {}", pyrepr::str(key), pyrepr::str(value));
                }
            }
            Some(other) => comment = format!("{comment} {}", pyrepr::str(other)),
        }
        Some(comment)
    }

    pub(super) fn terse(&self, color: &str, colors: Palette, options: &Options) -> Option<String> {
        let result = match self.result {
            Value::Bool(false) => "Failed",
            Value::Nil => "Differs",
            _ if self.changes.truthy() => "Changed",
            _ => "Clean",
        };
        let [module, _, name, function] = self.parts;
        let end = colors.end;
        let mut line = String::new();
        if let Some(warnings) = self.info.get("warnings") {
            let texts: Option<Vec<&str>> = warnings.as_list()?.iter().map(Value::as_str).collect();
            let break_behind = if options.state_tabular { "\n" } else { "" };
            line =
                format!("{}Warnings:\n{}{end}{break_behind}", colors.light_red, texts?.join("\n"));
        }
        let times = match self.field("start_time").filter(|_| options.state_output_profile) {
            Some(start) => Some((start, self.field("duration")?)),
            None => None,
        };
        if options.state_tabular {
            line.push_str(color);
            if let Some((start, duration)) = times {
                line.push_str(&format!("{start} [{duration:>7} ms] "));
            }
            line.push_str(&format!("{module:>10}.{function:<10} {result:7}   Name: {name}{end}"));
        } else {
            line.push_str(&format!(
                " {color} Name: {name} - Function: {module}.{function} - Result: {result}"
            ));
            if let Some((start, duration)) = times {
                line.push_str(&format!(" - Started: {start} - Duration: {duration} ms"));
            }
            line.push_str(end);
        }
        Some(line)
    }
}
