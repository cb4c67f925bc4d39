//! The numbers below a minion's states.

use saltern_value::{Value, pyrepr};

use super::state::State;
use crate::Options;
use crate::color::Palette;

/// What was counted while the states were printed.
#[derive(Default)]
pub(super) struct Summary {
    /// How often each result came.
    results: Vec<(Value, usize)>,
    pub(super) warnings: usize,
    pub(super) changed: usize,
    /// Milliseconds of the states that ran one after the other, and the longest of the others.
    in_turn: f64,
    beside: f64,
}

/// Columns the longest label takes.
const LABEL: usize = "Succeeded".len();

impl Summary {
    pub(super) fn count(&mut self, state: &State<'_>) {
        match self.results.iter_mut().find(|(result, _)| result == state.result) {
            Some((_, n)) => *n += 1,
            None => self.results.push((state.result.clone(), 1)),
        }
        match state.duration() {
            (milliseconds, true) => self.beside = self.beside.max(milliseconds),
            (milliseconds, false) => self.in_turn += milliseconds,
        }
    }

    fn of(&self, result: &Value) -> usize {
        self.results.iter().find(|(r, _)| r == result).map_or(0, |(_, n)| *n)
    }

    pub(super) fn lines(&self, host: &str, options: &Options, colors: Palette) -> Vec<String> {
        let end = colors.end;
        let digits = |n: usize| n.to_string().len();
        let results = self.results.iter().map(|(_, n)| digits(*n)).max();
        let warnings = (self.warnings > 0).then(|| digits(self.warnings));
        let wide = LABEL + results.max(warnings).unwrap_or(0) + 2;
        let rule = "-".repeat(wide);
        let row = |label: &str, count: &str| {
            format!("{label}: {count:>width$}", width = wide - (label.len() + 2))
        };
        let (good, unchanged) = (self.of(&Value::Bool(true)), self.of(&Value::Nil));
        let failed = self.of(&Value::Bool(false));
        let failed_color = if failed > 0 { colors.red } else { colors.cyan };
        let mut lines = vec![format!("{}\nSummary for {host}\n{rule}{end}", colors.cyan)];
        let mut stats = Vec::new();
        if unchanged > 0 {
            stats.push(format!("{}unchanged={unchanged}{end}", colors.light_yellow));
        }
        if self.changed > 0 {
            stats.push(format!("{}changed={}{end}", colors.green, self.changed));
        }
        let stats =
            if stats.is_empty() { String::new() } else { format!(" ({})", stats.join(", ")) };
        let succeeded = row("Succeeded", &(good + unchanged).to_string());
        lines.push(format!("{}{succeeded}{end}{stats}", colors.green));
        lines.push(format!("{failed_color}{}{end}", row("Failed", &failed.to_string())));
        let total: usize = self.results.iter().map(|(_, n)| n).sum();
        if options.state_output_pct && total > 0 {
            let percent = |n: usize| {
                let hundredth = (n as f64 / total as f64 * 10_000.0).round_ties_even() / 100.0;
                pyrepr::float(hundredth)
            };
            let success = row("Success %", &percent(good + unchanged));
            lines.push(format!("{}{success}{end}", colors.green));
            lines.push(format!("{failed_color}{}{end}", row("Failure %", &percent(failed))));
        }
        if self.warnings > 0 {
            let row = row("Warnings", &self.warnings.to_string());
            lines.push(format!("{}{row}{end}", colors.light_red));
        }
        let total = format!("Total states run: {total:>width$}", width = wide - 7);
        lines.push(format!("{}{rule}\n{total}{end}", colors.cyan));
        if options.state_output_profile {
            lines.push(format!("{}{}{end}", colors.cyan, self.run_time(wide)));
        }
        lines
    }

    fn run_time(&self, wide: usize) -> String {
        let milliseconds = self.in_turn + self.beside;
        let (number, unit) =
            if milliseconds > 999.0 { (milliseconds / 1000.0, "s") } else { (milliseconds, "ms") };
        format!("Total run time: {:>width$} {unit}", format!("{number:.3}"), width = wide - 5)
    }
}
