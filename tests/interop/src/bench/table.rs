//! Figures as a table and as JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::{Figure, Target};

/// For people.
pub fn text(figures: &[Figure]) -> String {
    let mut text = format!("machine: {}\n", machine());
    text.push_str(
        "| figure | Saltern (min .. max) | Salt 3006.24 (min .. max) | ratio | to reach | |\n",
    );
    text.push_str("|---|---|---|---|---|---|\n");
    for figure in figures {
        let (ours, theirs) = (spread(&figure.saltern), spread(&figure.salt));
        let (goal, reached) = goal(figure);
        let _ = writeln!(
            text,
            "| {} [{}] | {} | {} | 1/{:.1} | {goal} | {} |",
            figure.what,
            figure.unit,
            show(&ours),
            show(&theirs),
            theirs.1 / ours.1,
            if reached { "reached" } else { "NOT reached" }
        );
    }
    text
}

/// For programs.
pub fn json(figures: &[Figure]) -> String {
    let rows: Vec<_> = figures
        .iter()
        .map(|f| {
            let (ours, theirs) = (spread(&f.saltern), spread(&f.salt));
            json!({
                "figure": f.what, "unit": f.unit, "reached": goal(f).1,
                "saltern": {"min": ours.0, "median": ours.1, "max": ours.2, "trials": f.saltern},
                "salt_3006_24": {"min": theirs.0, "median": theirs.1, "max": theirs.2,
                                 "trials": f.salt},
                "ratio": ours.1 / theirs.1,
            })
        })
        .collect();
    serde_json::to_string_pretty(&json!({"machine": machine(), "figures": rows})).unwrap()
}

fn goal(figure: &Figure) -> (String, bool) {
    let (ours, theirs) = (spread(&figure.saltern).1, spread(&figure.salt).1);
    match figure.target {
        Target::Ratio(most) => (format!("at most 1/{:.0}", 1.0 / most), ours <= theirs * most),
        Target::AtMost(most) => (format!("at most {most}"), ours <= most),
    }
}

fn spread(trials: &[f64]) -> (f64, f64, f64) {
    let mut sorted = trials.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

fn show((least, median, most): &(f64, f64, f64)) -> String {
    format!("{median:.3} ({least:.3} .. {most:.3})")
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo").matches("processor\t").count();
    let load = read("/proc/loadavg");
    format!("{cpus} cores, load {} at the end", load.split(' ').next().unwrap_or("?"))
}
