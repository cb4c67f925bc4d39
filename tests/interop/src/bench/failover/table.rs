//! The table, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Cell, Plan, Row};
use crate::Peer;

pub fn text(rows: &[Row], plan: &Plan) -> String {
    let mut text = format!(
        "seconds, median (worst); {} trials of Saltern, {} of each Salt; never = not within \
         {:.0} s (cold start: {:.0} s)\n",
        plan.trials,
        plan.salt_trials,
        plan.limit,
        plan.limit * 3.0
    );
    text.push_str(
        "| | Salt 3006.24 | Salt 3008.2 | Saltern | to reach | |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cell = |peer: Peer| {
            let cell = row.cells.iter().find(|c| c.peer == peer);
            cell.map_or_else(|| "not run".to_owned(), |c| shown(c, plan))
        };
        let reached = if reached(row) { "reached" } else { "NOT reached" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {reached} |",
            row.what,
            cell(Peer::Salt3006),
            cell(Peer::Salt3008),
            cell(Peer::Saltern),
            row.goal.text,
        );
    }
    text
}

pub fn json(rows: &[Row], plan: &Plan) -> Value {
    let cell = |cell: &Cell| {
        let (median, worst) = spread(&cell.trials);
        json!({
            "version": cell.peer.version(), "saltern": cell.peer == Peer::Saltern,
            "median": median, "worst": worst, "trials": cell.trials, "note": cell.note,
        })
    };
    let row = |row: &Row| {
        let cells: Vec<_> = row.cells.iter().map(cell).collect();
        json!({"row": row.what, "reached": reached(row), "goal": row.goal.text, "cells": cells})
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    json!({"never_after": plan.limit, "all_down_for": plan.down, "rows": rows})
}

/// One cell in words.
pub(super) fn shown(cell: &Cell, plan: &Plan) -> String {
    let never = cell.trials.iter().filter(|t| t.is_none()).count();
    let seconds = |value: Option<f64>| match value {
        Some(value) => format!("{value:.3}"),
        None => format!("never (>{:.0} s)", plan.limit),
    };
    let (median, worst) = spread(&cell.trials);
    let mut text = match cell.trials.len() {
        0 => String::new(),
        count if never == count => seconds(None),
        _ => format!("{} ({})", seconds(median), seconds(worst)),
    };
    if !cell.note.is_empty() {
        let _ = write!(text, "{}{}", if text.is_empty() { "" } else { ", " }, cell.note);
    }
    text
}

/// Median and worst; none counts as longer than anything.
fn spread(trials: &[Option<f64>]) -> (Option<f64>, Option<f64>) {
    let mut sorted: Vec<f64> = trials.iter().map(|t| t.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().filter(|t| t.is_finite());
    (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

fn reached(row: &Row) -> bool {
    let Some(cell) = row.cells.iter().find(|c| c.peer == Peer::Saltern) else { return false };
    let (median, worst) = spread(&cell.trials);
    let times = match cell.trials.is_empty() {
        true => true,
        false => {
            median.is_some_and(|t| t <= row.goal.median)
                && worst.is_some_and(|t| t <= row.goal.worst)
        }
    };
    // "a of b ..." has to mean all, and nothing twice.
    let mut words = cell.note.split([' ', ',']).filter_map(|w| w.parse::<usize>().ok());
    let counts: Vec<usize> = words.by_ref().collect();
    let all = counts.first() == counts.get(1);
    times && all && counts.get(2).is_none_or(|twice| *twice == 0)
}
