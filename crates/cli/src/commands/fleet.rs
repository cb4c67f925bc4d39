//! The answer of `manage.failover` as a table for people.

use std::collections::BTreeMap;

use saltern_value::{Map, Value};

/// Minions shown unless all are wanted, and reasons explained.
const ROWS: usize = 40;
const REASONS: usize = 12;

/// Draws the table; `None` when this is not such an answer. With `all` every minion is shown.
pub(crate) fn table(data: &Value, all: bool) -> Option<String> {
    let data = data.as_map()?;
    let summary = data.get("summary")?.as_map()?;
    let masters = data.get("masters")?.as_map()?;
    let minions = data.get("minions")?.as_map()?;
    let mut parts = Vec::new();
    let draining = data.get("master").and_then(|master| master.get("draining"));
    if draining.is_some_and(Value::truthy) {
        parts.push("This master is being drained (salt-run master.drain_status).".to_owned());
    }
    if !masters.is_empty() {
        parts.push(drawn(
            &["MASTER", "MINIONS", "COULD TAKE", "LOST IF IT DIED", "REFUSES"],
            masters.iter().map(|(name, sums)| master(name, sums)).collect(),
        ));
    }
    let most = if all { usize::MAX } else { ROWS };
    if !minions.is_empty() {
        parts.push(drawn(
            &["MINION", "ON", "COULD GO TO", "CANNOT GO TO", "IF ITS MASTER DIED"],
            minions.iter().take(most).map(|(id, row)| minion(id, row)).collect(),
        ));
    }
    let number = |key: &str| summary.get(key).and_then(Value::as_int).unwrap_or(0);
    let omitted = data.get("omitted").and_then(Value::as_int).unwrap_or(0);
    let reasons = reasons(minions, omitted == 0);
    if !reasons.is_empty() {
        parts.push(reasons.join("\n"));
    }
    let unseen = minions.len().saturating_sub(most);
    let omitted = omitted.saturating_add(i64::try_from(unseen).unwrap_or(i64::MAX));
    if omitted > 0 {
        parts.push(format!(
            "{omitted} more are not shown: verbose=True shows all, only=lost those in danger"
        ));
    }
    parts.push(format!(
        "{}: {} safe, {} would be lost, {} unknown, {} not connected{}{}",
        match number("minions") {
            1 => "1 minion".to_owned(),
            n => format!("{n} minions"),
        },
        number("safe"),
        number("would_be_lost"),
        number("unknown"),
        number("not_connected"),
        match number("stale") {
            0 => String::new(),
            stale => format!("; {stale} with a stale report"),
        },
        match number("lossy") {
            0 => String::new(),
            lossy => format!("; {lossy} lost something themselves (only=lossy)"),
        }
    ));
    Some(parts.join("\n\n"))
}

fn master(name: &Value, sums: &Value) -> Vec<String> {
    let number = |key: &str| sums.get(key).and_then(Value::as_int).unwrap_or(0).to_string();
    let refuses: Vec<String> = sums
        .get("refuses")
        .and_then(Value::as_map)
        .into_iter()
        .flatten()
        .map(|(why, n)| format!("{} {}", n.as_int().unwrap_or(0), text(why)))
        .collect();
    vec![
        text(name),
        number("minions"),
        number("could_take"),
        number("would_be_lost"),
        or_dash(refuses.join(", ")),
    ]
}

fn minion(id: &Value, row: &Value) -> Vec<String> {
    let list = |key: &str| -> String {
        let items = row.get(key).and_then(Value::as_list).unwrap_or_default();
        items.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    let cannot: Vec<String> = told(row, "cannot_go_to")
        .map(|(name, why)| format!("{name} ({})", why.get_str("reason").unwrap_or("unknown")))
        .collect();
    let why = row.get("why").map(text).unwrap_or_default();
    let mut fate = match row.get("state").and_then(Value::as_str) {
        Some("would be lost") => format!("LOST: {why}"),
        Some("unknown") => format!("unknown: {why}"),
        _ => why,
    };
    for (name, warning) in told(row, "warnings") {
        let text = warning.get_str("text").unwrap_or_default();
        fate = format!("{fate} [{name}: {text}]");
    }
    let age = row.get("report_age").and_then(Value::as_int);
    if let (Some(true), Some(age)) = (row.get("stale").map(Value::truthy), age) {
        fate = format!("{fate} [stale: reported {} ago]", span(age));
    }
    let lost = lost(row);
    if !lost.is_empty() {
        fate = format!("{fate} [lost since its start: {}]", lost.join(", "));
    }
    vec![
        text(id),
        or_dash(list("on")),
        or_dash(list("could_go_to")),
        or_dash(cannot.join(", ")),
        fate,
    ]
}

/// What a minion lost itself, since its start.
fn lost(row: &Value) -> Vec<String> {
    let all = row.get("lost").and_then(Value::as_map).into_iter().flatten();
    all.filter_map(|(what, number)| {
        let number = number.as_int().filter(|number| *number > 0)?;
        Some(format!("{} {number}", text(what).replace('_', " ")))
    })
    .collect()
}

/// Masters by name with what is said of them.
fn told<'a>(row: &'a Value, key: &str) -> impl Iterator<Item = (String, &'a Map)> {
    let all = row.get(key).and_then(Value::as_map).into_iter().flatten();
    all.filter_map(|(name, why)| Some((text(name), why.as_map()?)))
}

/// Each reason once, with its sentence and, if all minions are there, how many have it.
fn reasons(minions: &Map, counted: bool) -> Vec<String> {
    let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in minions.values() {
        for (name, why) in told(row, "cannot_go_to") {
            let sentence = why.get_str("text").unwrap_or_default().to_owned();
            if !sentence.is_empty() {
                *found.entry((name, sentence)).or_default() += 1;
            }
        }
    }
    let shown = found.iter().take(REASONS);
    shown
        .map(|((name, sentence), n)| {
            let who = match (counted, *n) {
                (false, _) => String::new(),
                (true, 1) => ", 1 minion".to_owned(),
                (true, n) => format!(", {n} minions"),
            };
            format!("{name}{who}: {sentence}")
        })
        .collect()
}

/// Columns as wide as their widest cell; the last one is not filled up.
pub(super) fn drawn(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let mut lines = vec![heads];
    lines.extend(rows);
    let width = |column: usize| {
        lines.iter().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let line = |cells: &Vec<String>| {
        let filled: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        filled.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

pub(super) fn span(seconds: i64) -> String {
    match seconds {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_who_would_be_lost_and_why() {
        let json = r#"{"safe": false, "summary": {"minions": 2, "safe": 1, "would_be_lost": 1,
            "stale": 1, "lossy": 1}, "omitted": 3,
            "masters": {"m1": {"minions": 2, "could_take": 0, "would_be_lost": 1,
                "refuses": {}}, "m2": {"minions": 0, "could_take": 1, "would_be_lost": 0,
                "refuses": {"key pending": 1}}},
            "minions": {
                "web1": {"state": "would be lost", "why": "no other master would take it",
                    "on": ["m1"], "could_go_to": [], "stale": true, "report_age": 7300,
                    "cannot_go_to": {"m2": {"reason": "key pending", "text": "accept it"}}},
                "web2": {"state": "safe", "why": "goes to m2", "on": ["m1"],
                    "could_go_to": ["m2"], "cannot_go_to": {}, "stale": false,
                    "lost": {"returns": 0, "publications": 2, "events_malformed": 1},
                    "warnings": {"m2": {"reason": "clock", "text": "its clock is wrong"}}}}}"#;
        let data = saltern_value::json::parse(json).unwrap();
        let expected = "\
MASTER  MINIONS  COULD TAKE  LOST IF IT DIED  REFUSES
m1      2        0           1                -
m2      0        1           0                1 key pending

MINION  ON  COULD GO TO  CANNOT GO TO      IF ITS MASTER DIED
web1    m1  -            m2 (key pending)  LOST: no other master would take it [stale: reported 2 h ago]
web2    m1  m2           -                 goes to m2 [m2: its clock is wrong] [lost since its start: publications 2, events malformed 1]

m2: accept it

3 more are not shown: verbose=True shows all, only=lost those in danger

2 minions: 1 safe, 1 would be lost, 0 unknown, 0 not connected; 1 with a stale report; 1 lost something themselves (only=lossy)";
        assert_eq!(table(&data, false).unwrap(), expected);
        assert_eq!(table(&Value::from("an error"), false), None);
    }
}
