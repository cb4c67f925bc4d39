//! Figures as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::goal::{Verdict, number, of};
use super::run::{Cell, Row};
use super::trial::Trial;
use super::{plan::Plan, proc};
use crate::Peer;

/// For people.
pub fn text(rows: &[Row], plan: &Plan) -> String {
    let mut text = format!(
        "machine: {}; load {} at the end. Median (min .. max) of the trials; CPU and memory are \
         those of the master's process tree (PSS; a single process counts whole); 1/N: Saltern's figure to this one's.\n\n",
        proc::machine(),
        proc::load()
    );
    text.push_str(
        "| figure | size | of | trials | seconds | CPU s | CPU s for | PSS MiB | load | ratio: \
         time, CPU, memory | to reach: found |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        for cell in &row.cells {
            let last = match cell.peer {
                Peer::Saltern => verdicts(&row.verdicts(rows)),
                _ => ratios(row, cell),
            };
            let _ = writeln!(text, "{} {last}", line(row, cell));
        }
    }
    let _ = writeln!(text, "\n{}", summary(rows));
    if plan.quick {
        text.push_str("a quick run: few trials of small sizes\n");
    }
    text
}

fn line(row: &Row, cell: &Cell) -> String {
    let trials = &cell.trials;
    let (units, unit) = row.bench.per;
    let load = of(trials, |t| Some(t.load)).map_or("-".to_owned(), number);
    let per = spread(trials, |t| t.cpu_per(units));
    let per = if per == "-" { per } else { format!("{per} / {} {unit}", number(units)) };
    format!(
        "| {} | {} | {} | {} | {} | {} | {per} | {} | {load} |",
        described(row, trials),
        row.size,
        owner(row, cell),
        trials.len(),
        spread(trials, |t| t.seconds),
        spread(trials, |t| t.cpu),
        spread(trials, |t| t.memory.map(proc::Memory::counted)),
    )
}

/// Whose figure it is.
fn owner(row: &Row, cell: &Cell) -> String {
    match row.bench.name == super::floors::BENCH.name {
        true => "this machine".to_owned(),
        false => cell.peer.name(),
    }
}

/// The figure's name, its further numbers and what happened.
fn described(row: &Row, trials: &[Trial]) -> String {
    let mut text = if row.what.is_empty() { row.bench.name } else { row.what }.to_owned();
    let mut names: Vec<&str> = trials.iter().flat_map(|t| t.more.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let values: Vec<f64> = trials.iter().filter_map(|t| t.more.get(name)).copied().collect();
        let _ = write!(text, "; {name} {}", show(&values));
    }
    let mut notes: Vec<&str> = trials.iter().filter_map(|t| t.note.as_deref()).collect();
    notes.dedup();
    for note in notes {
        let _ = write!(text, "; **{note}**");
    }
    text
}

/// What Saltern takes of what this one takes for the same work: seconds, CPU, memory.
fn ratio_values(row: &Row, cell: &Cell) -> [Option<f64>; 3] {
    let (ours, theirs) = (row.trials(Peer::Saltern), &cell.trials);
    let part = |value: fn(&Trial) -> Option<f64>| Some(of(ours, value)? / of(theirs, value)?);
    [part(Trial::seconds_each), part(|t| t.cpu_per(1.0)), part(|t| Some(t.memory?.counted()))]
}

fn ratios(row: &Row, cell: &Cell) -> String {
    let shown = ratio_values(row, cell).map(|part| match part {
        Some(part) if part > 0.0 && part.is_finite() => format!("1/{}", number(1.0 / part)),
        _ => "-".to_owned(),
    });
    format!("{} | |", shown.join(", "))
}

fn verdicts(verdicts: &[Verdict]) -> String {
    let words = verdicts.iter().map(|v| {
        let met = match v.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "nothing to compare with",
        };
        match v.found.as_str() {
            "" => format!("{}: {met}", v.goal),
            found => format!("{}: {found}, {met}", v.goal),
        }
    });
    format!("| {} |", words.collect::<Vec<_>>().join("; "))
}

fn summary(rows: &[Row]) -> String {
    let all: Vec<Verdict> = rows.iter().flat_map(|row| row.verdicts(rows)).collect();
    let count = |met| all.iter().filter(|v| v.met == met).count();
    format!(
        "to reach: {} met, {} not met, {} without anything to compare with",
        count(Some(true)),
        count(Some(false)),
        count(None)
    )
}

/// For programs.
pub fn json(rows: &[Row], plan: &Plan) -> Value {
    let rows: Vec<Value> = rows.iter().map(|row| row_json(row, rows)).collect();
    json!({
        "machine": proc::machine(), "load": proc::load(), "quick": plan.quick,
        "limit": plan.limit(), "rows": rows,
    })
}

fn row_json(row: &Row, rows: &[Row]) -> Value {
    let (units, unit) = row.bench.per;
    let cells = row.cells.iter().map(|cell| {
        let trials = &cell.trials;
        let [seconds, cpu, memory] = ratio_values(row, cell);
        json!({
            "of": owner(row, cell),
            "seconds": figure(trials, |t| t.seconds),
            "cpu_seconds": figure(trials, |t| t.cpu),
            "cpu_seconds_per": figure(trials, |t| t.cpu_per(units)),
            "pss_mib": figure(trials, |t| t.memory.map(|m| m.pss)),
            "rss_mib": figure(trials, |t| t.memory.map(|m| m.rss)),
            "load": figure(trials, |t| Some(t.load)),
            "saltern_to_this": {"seconds": seconds, "cpu": cpu, "memory": memory},
            "trials": trials.iter().map(trial_json).collect::<Vec<_>>(),
        })
    });
    let goals = row.verdicts(rows).into_iter();
    let goals = goals.map(|v| json!({"to_reach": v.goal, "found": v.found, "met": v.met}));
    json!({
        "bench": row.bench.name, "figure": row.what, "size": row.size,
        "per": {"count": units, "of": unit},
        "cells": cells.collect::<Vec<_>>(), "goals": goals.collect::<Vec<_>>(),
    })
}

fn trial_json(trial: &Trial) -> Value {
    json!({
        "seconds": trial.seconds, "cpu_seconds": trial.cpu,
        "pss_mib": trial.memory.map(|m| m.pss), "rss_mib": trial.memory.map(|m| m.rss),
        "load": trial.load, "done": trial.done, "wanted": trial.wanted,
        "more": trial.more, "note": trial.note,
    })
}

/// One trial in a line, for the progress.
pub fn progress(what: &str, trial: &Trial) -> String {
    let mut text = what.to_owned();
    let mut add = |name: &str, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            let _ = write!(text, " {name}{}{unit}", number(value));
        }
    };
    add("", trial.seconds, " s,");
    add("CPU ", trial.cpu, " s,");
    add("PSS ", trial.memory.map(proc::Memory::counted), " MiB,");
    add("load ", Some(trial.load), "");
    for (name, value) in &trial.more {
        let _ = write!(text, ", {name} {}", number(*value));
    }
    match &trial.note {
        Some(note) => format!("{text} ({note})"),
        None => text,
    }
}

fn figure(trials: &[Trial], value: impl Fn(&Trial) -> Option<f64>) -> Value {
    let values: Vec<f64> = trials.iter().filter_map(value).collect();
    let Some((least, median, most)) = three(&values) else { return Value::Null };
    json!({"min": least, "median": median, "max": most})
}

fn spread(trials: &[Trial], value: impl Fn(&Trial) -> Option<f64>) -> String {
    show(&trials.iter().filter_map(value).collect::<Vec<_>>())
}

fn show(values: &[f64]) -> String {
    match three(values) {
        None => "-".to_owned(),
        Some((least, _, most)) if least == most => number(least),
        Some((least, median, most)) => {
            format!("{} ({} .. {})", number(median), number(least), number(most))
        }
    }
}

/// The median, if there is one.
pub fn median(values: &[f64]) -> Option<f64> {
    Some(three(values)?.1)
}

/// Least, median and most. Of an even number the median is the mean of the two in the middle.
fn three(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    };
    Some((least, median, most))
}
