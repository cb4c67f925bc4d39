//! The rows and their sums as data: what `--out json` prints, and what the table is drawn from.

use std::collections::BTreeMap;

use saltern_value::{Map, Value};

use super::Ids;
use super::row::{Fate, Row};
use crate::losses::Lost;
use crate::readiness::Place;

/// Rows shown of a fleet, unless all are wanted; those in danger come first.
const ROWS: usize = 500;

/// Which rows are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Only minions on this master.
    pub(super) master: Option<String>,
    /// Only minions of this kind.
    pub(super) only: Option<String>,
    /// However many there are.
    pub(super) all: bool,
}

/// Sums for one master.
#[derive(Default)]
struct Master {
    minions: i64,
    could_take: i64,
    would_be_lost: i64,
    refuses: BTreeMap<String, i64>,
}

/// What the runner returns; first the id of this master and whether it is being drained. `safe`
/// tells whether anybody would be lost.
///
/// # Errors
/// When the wanted master is one of which no minion has spoken: nobody would seem to be lost.
pub(super) fn data(
    (id, draining): (&str, bool),
    mut rows: Vec<Row>,
    wanted: &Wanted,
) -> Result<Value, String> {
    let own_name = own_name(&rows);
    for row in &mut rows {
        // A minion of which only the connection is known is still somewhere: here.
        if row.here && row.on.is_empty() && row.fate != Fate::Away {
            row.on.push(own_name.clone().unwrap_or_else(|| id.to_owned()));
        }
    }
    if let Some(master) = &wanted.master {
        named(&rows, master)?;
        rows.retain(|row| row.on.contains(master));
    }
    let masters = masters(&rows);
    let summary = summary(&rows);
    let ids = |fate: Fate| -> Vec<String> {
        rows.iter().filter(|row| row.fate == fate).map(|row| row.id.clone()).collect()
    };
    let (lost, away) = (ids(Fate::Lost), ids(Fate::Away));
    if let Some(only) = &wanted.only {
        rows.retain(|row| is(row, only));
    }
    rows.sort_by_key(|row| match row.fate {
        Fate::Lost => 0,
        Fate::Unknown => 1,
        Fate::Away => 2,
        Fate::Safe => 3,
    });
    let shown = if wanted.all { rows.len() } else { rows.len().min(ROWS) };
    let omitted = rows.len() - shown;
    rows.truncate(shown);
    Ok(Value::from_iter([
        ("safe", Value::from(lost.is_empty())),
        (
            "master",
            Value::from_iter([
                ("id", Value::from(id)),
                ("name", own_name.map_or(Value::Nil, Value::from)),
                ("draining", draining.into()),
            ]),
        ),
        ("summary", summary),
        ("masters", masters),
        ("would_be_lost", lost.into()),
        ("not_connected", away.into()),
        ("minions", rows.iter().map(|row| (row.id.as_str(), shown_row(row))).collect()),
        ("omitted", count(omitted)),
    ]))
}

/// Whether some minion knows a master of that name.
fn named(rows: &[Row], master: &str) -> Result<(), String> {
    let mut names = Ids::new();
    for row in rows {
        let refusing = row.not_ready.iter().map(|place| &place.name);
        let all = row.on.iter().chain(&row.ready).chain(&row.unknown).chain(refusing);
        names.extend(all.cloned());
    }
    if names.contains(master) {
        return Ok(());
    }
    let names = if names.is_empty() {
        "none has named any".to_owned()
    } else {
        format!("they name {}", names.into_iter().collect::<Vec<_>>().join(", "))
    };
    Err(format!("master={master} is on no minion's list of masters; {names}"))
}

/// The name most minions have for this master.
fn own_name(rows: &[Row]) -> Option<String> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.via.is_empty()) {
        *names.entry(&row.via).or_default() += 1;
    }
    names.into_iter().max_by_key(|(_, n)| *n).map(|(name, _)| name.to_owned())
}

fn is(row: &Row, only: &str) -> bool {
    match only {
        "lost" => row.fate == Fate::Lost,
        "unknown" => row.fate == Fate::Unknown,
        "stale" => row.stale,
        "not_connected" => row.fate == Fate::Away,
        "stock" => row.stock,
        "lossy" => lossy(row),
        _ => true,
    }
}

/// Whether it says that it lost something.
fn lossy(row: &Row) -> bool {
    row.report.as_ref().and_then(|report| report.lost).is_some_and(Lost::any)
}

fn summary(rows: &[Row]) -> Value {
    let number = |wanted: &dyn Fn(&Row) -> bool| count(rows.iter().filter(|r| wanted(r)).count());
    Value::from_iter([
        ("minions", count(rows.len())),
        ("connected_here", number(&|r| r.here)),
        ("elsewhere", number(&|r| !r.here && r.fate != Fate::Away)),
        ("not_connected", number(&|r| r.fate == Fate::Away)),
        ("safe", number(&|r| r.fate == Fate::Safe)),
        ("would_be_lost", number(&|r| r.fate == Fate::Lost)),
        ("unknown", number(&|r| r.fate == Fate::Unknown)),
        ("stale", number(&|r| r.stale)),
        ("stock", number(&|r| r.stock)),
        ("lossy", number(&lossy)),
    ])
}

fn masters(rows: &[Row]) -> Value {
    let mut masters: BTreeMap<&str, Master> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.fate != Fate::Away) {
        for name in &row.on {
            let master = masters.entry(name).or_default();
            master.minions += 1;
            // With two connections the death of one loses nobody.
            master.would_be_lost += i64::from(row.fate == Fate::Lost);
        }
        for name in &row.ready {
            masters.entry(name).or_default().could_take += 1;
        }
        for place in &row.not_ready {
            let refuses = &mut masters.entry(&place.name).or_default().refuses;
            *refuses.entry(place.reason.clone()).or_default() += 1;
        }
    }
    masters
        .into_iter()
        .map(|(name, master)| {
            let sums = [
                ("minions", Value::Int(master.minions)),
                ("could_take", Value::Int(master.could_take)),
                ("refuses", master.refuses.into_iter().collect()),
                ("would_be_lost", Value::Int(master.would_be_lost)),
            ];
            (name, Value::from_iter(sums))
        })
        .collect()
}

fn shown_row(row: &Row) -> Value {
    let state = match row.fate {
        Fate::Safe => "safe",
        Fate::Lost => "would be lost",
        Fate::Unknown => "unknown",
        Fate::Away => "not connected",
    };
    let by_name = |places: &[Place]| -> Map {
        let why = |place: &Place| {
            Map::from([("reason", place.reason.as_str()), ("text", place.text.as_str())])
        };
        places.iter().map(|place| (place.name.as_str(), why(place))).collect()
    };
    let age = |seconds: u64| Value::Int(i64::try_from(seconds).unwrap_or(i64::MAX));
    let mut shown = Map::from([
        ("state", Value::from(state)),
        ("why", row.why.as_str().into()),
        ("on", row.on.clone().into()),
        ("connected_here", row.here.into()),
        ("could_go_to", row.ready.clone().into()),
        ("cannot_go_to", by_name(&row.not_ready).into()),
        ("warnings", by_name(&row.warnings).into()),
        ("not_tried", row.unknown.clone().into()),
        ("stock", row.stock.into()),
        ("report_age", row.age.map_or(Value::Nil, age)),
        ("stale", row.stale.into()),
    ]);
    if let Some(report) = &row.report {
        shown.insert("spool", report.spool);
        shown.insert("latency", report.latency.map_or(Value::Nil, Value::from));
        shown.insert("version", report.version.as_str());
        shown.insert("lost", report.lost.map_or(Value::Nil, |lost| lost.shown().into()));
        let passed = row.age.unwrap_or_default() as f64;
        let switch = report.switch.clone().map(|mut switch| {
            let then = switch.get("age").and_then(Value::as_f64).unwrap_or_default();
            switch.insert("age", (then + passed).round());
            Value::Map(switch)
        });
        shown.insert("last_switch", switch.unwrap_or_default());
    }
    Value::Map(shown)
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
