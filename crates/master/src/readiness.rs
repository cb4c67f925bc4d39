//! What minions report about the masters they could go to. A report is cut to fixed bounds before
//! it is kept: a minion may be lied to, or lie, without costing more than its share.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::SystemTime;

use saltern_base::MinionId;
use saltern_base::time::epoch;
use saltern_store::StoreError;
use saltern_store::pki::{KeyState, Pki};
use saltern_store::reports::Reports;
use saltern_value::{Map, Value};

use crate::losses::Lost;

/// How the tag of a report ends; it begins with `salt/minion/<id>`.
pub(crate) const TAG_END: &str = "/failover/report";

/// Masters kept of one report.
const MASTERS: usize = 32;
/// Bytes of a master's name, of a word, and of a sentence.
const NAME: usize = 255;
const WORD: usize = 32;
const TEXT: usize = 600;
/// A minion says how often it reports; what it says counts within these seconds.
const INTERVAL: (f64, f64) = (10.0, 86_400.0);

/// The reports of the minions of this master.
pub(crate) struct Readiness {
    reports: Reports,
}

/// One master as a minion knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Place {
    /// The name the minion has for it.
    pub(crate) name: String,
    /// `current`, `ready`, `not ready` or `unknown`.
    pub(crate) state: String,
    /// Why not, as one of a few words.
    pub(crate) reason: String,
    /// The same as a sentence.
    pub(crate) text: String,
}

/// What a minion said last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    /// The names of the masters it was connected to.
    pub(crate) connected: Vec<String>,
    /// Its name for the master that got the report.
    pub(crate) via: String,
    /// All its masters.
    pub(crate) masters: Vec<Place>,
    /// Seconds between two reports.
    pub(crate) interval: u64,
    /// When it came, in seconds since the epoch.
    pub(crate) received: u64,
    /// Messages that no master has acknowledged.
    pub(crate) spool: i64,
    /// Seconds its master takes to answer.
    pub(crate) latency: Option<f64>,
    /// The minion's version.
    pub(crate) version: String,
    /// The last switch as the minion tells it, with `age` at the time of the report.
    pub(crate) switch: Option<Map>,
    /// What it lost since its start; `None` when it does not say.
    pub(crate) lost: Option<Lost>,
}

impl Readiness {
    /// Opens the reports kept below `cachedir`; those of minions whose key went away meanwhile
    /// are dropped.
    ///
    /// # Errors
    /// The file system's refusal.
    pub(crate) fn open(cachedir: &Path, pki: &Pki) -> Result<Self, StoreError> {
        let reports = Reports::open(cachedir)?;
        let accepted: BTreeSet<String> = pki.ids(KeyState::Accepted)?.into_iter().collect();
        reports.retain(|id| accepted.contains(id));
        Ok(Readiness { reports })
    }

    /// Keeps a report that `id`, proved, has fired as an event under `tag`; what the minion lost
    /// and no master has counted yet.
    pub(crate) fn note(&self, id: &MinionId, tag: &str, event: &Map) -> Lost {
        let Some(data) = event.get("data").and_then(Value::as_map) else { return Lost::default() };
        if tag != format!("salt/minion/{id}{TAG_END}") {
            return Lost::default();
        }
        let mut kept = bounded(data);
        let known = self.reports.get(id.as_str()).map(|(_, known)| known);
        let known = known.filter(|known| known.get("run") == kept.get("run"));
        // An older one may arrive late, over another connection.
        if known.as_ref().is_some_and(|known| number(known, "serial") > number(&kept, "serial")) {
            return Lost::default();
        }
        let (fresh, counted) = uncounted(data, known.as_ref());
        if counted.any() {
            kept.insert("counted", counted.packed());
        }
        self.reports.put(id, epoch(SystemTime::now()), &kept);
        fresh
    }

    /// Forgets a minion whose key is gone.
    pub(crate) fn forget(&self, id: &MinionId) {
        self.reports.remove(id.as_str());
    }

    /// Writes what is new to the disk.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn flush(&self) -> Result<(), String> {
        self.reports.flush().map_err(|e| e.to_string())
    }

    /// The last report of one minion.
    pub(crate) fn get(&self, id: &str) -> Option<Report> {
        self.reports.get(id).map(|(received, map)| Report::of(&map, received))
    }

    /// The last report of each minion.
    pub(crate) fn all(&self) -> HashMap<String, Report> {
        let all = self.reports.all().into_iter();
        all.map(|(id, (received, map))| (id, Report::of(&map, received))).collect()
    }
}

impl Report {
    fn of(map: &Map, received: u64) -> Self {
        let list = |name: &str| map.get(name).and_then(Value::as_list).unwrap_or_default();
        let masters = list("masters").iter().filter_map(Value::as_map);
        Report {
            connected: list("connected").iter().filter_map(Value::as_str).map(Into::into).collect(),
            via: map.get_str("via").unwrap_or_default().to_owned(),
            masters: masters
                .map(|place| {
                    let text = |name: &str| place.get_str(name).unwrap_or_default().to_owned();
                    Place {
                        name: text("name"),
                        state: text("state"),
                        reason: text("reason"),
                        text: text("text"),
                    }
                })
                .collect(),
            interval: u64::try_from(number(map, "interval")).unwrap_or(0),
            received,
            spool: number(map, "spool"),
            latency: map.get("latency").and_then(Value::as_f64),
            version: map.get_str("version").unwrap_or_default().to_owned(),
            switch: map.get("switch").and_then(Value::as_map).cloned(),
            lost: map.get("lost").and_then(Value::as_map).map(Lost::of),
        }
    }

    /// Whether the minion has missed to report twice.
    pub(crate) fn is_stale(&self, now: u64) -> bool {
        now.saturating_sub(self.received) > self.interval.saturating_mul(5) / 2 + 60
    }

    /// The masters in this state.
    pub(crate) fn in_state(&self, state: &str) -> impl Iterator<Item = &Place> {
        self.masters.iter().filter(move |place| place.state == state)
    }
}

fn number(map: &Map, name: &str) -> i64 {
    map.get(name).and_then(Value::as_int).unwrap_or(0)
}

/// What a minion lost and no master has counted yet, and how much is counted then. Only a master
/// in use counts: others hear the same. `known` is the last report of the same run of the minion.
fn uncounted(data: &Map, known: Option<&Map>) -> (Lost, Lost) {
    let of = |map: &Map, name: &str| {
        map.get(name).and_then(Value::as_map).map(Lost::of).unwrap_or_default()
    };
    let before = known.map(|known| of(known, "counted")).unwrap_or_default();
    let connected = data.get("connected").and_then(Value::as_list).unwrap_or_default();
    if !connected.iter().any(|name| Some(name) == data.get("via")) {
        return (Lost::default(), before);
    }
    let lost = of(data, "lost");
    // What it told the masters it used before this one.
    let before = before.max(of(data, "lost_told"));
    (lost.beyond(before), lost.max(before))
}

/// What is kept of a report.
fn bounded(data: &Map) -> Map {
    let interval = data.get("interval").and_then(Value::as_f64).filter(|s| s.is_finite());
    let interval = interval.unwrap_or(600.0).clamp(INTERVAL.0, INTERVAL.1);
    let list = |name: &str| data.get(name).and_then(Value::as_list).unwrap_or_default();
    let connected: Vec<String> = list("connected")
        .iter()
        .filter_map(Value::as_str)
        .take(MASTERS)
        .map(|name| cut(name, NAME))
        .collect();
    let masters: Vec<Value> =
        list("masters").iter().filter_map(Value::as_map).take(MASTERS).map(place).collect();
    let mut kept = Map::from([
        ("run", Value::from(text(data, "run", WORD))),
        ("serial", number(data, "serial").into()),
        ("via", text(data, "via", NAME).into()),
        ("interval", Value::Int(interval as i64)),
        ("connected", connected.into()),
        ("masters", Value::List(masters)),
        ("spool", number(data, "spool").max(0).into()),
        ("version", text(data, "version", WORD).into()),
        ("latency", data.get("latency").and_then(Value::as_f64).map_or(Value::Nil, Value::from)),
    ]);
    if let Some(switch) = data.get("switch").and_then(Value::as_map) {
        let seconds = |name: &str| switch.get(name).and_then(Value::as_f64).unwrap_or_default();
        let shown = [
            ("age", Value::from(seconds("age"))),
            ("from", text(switch, "from", NAME).into()),
            ("to", text(switch, "to", NAME).into()),
            ("reason", text(switch, "reason", TEXT).into()),
            ("gap", seconds("gap").into()),
        ];
        kept.insert("switch", Map::from(shown));
    }
    if let Some(lost) = data.get("lost").and_then(Value::as_map) {
        kept.insert("lost", Lost::of(lost).packed());
    }
    kept
}

fn place(place: &Map) -> Value {
    let told = place.get_str("state");
    let known = ["current", "ready", "not ready"].into_iter().find(|state| told == Some(state));
    let state = known.unwrap_or("unknown");
    Value::from_iter([
        ("name", Value::from(text(place, "name", NAME))),
        ("state", state.into()),
        ("reason", text(place, "reason", WORD).into()),
        ("text", text(place, "text", TEXT).into()),
    ])
}

fn text(map: &Map, name: &str, most: usize) -> String {
    cut(map.get_str(name).unwrap_or_default(), most)
}

/// At most so many bytes, and nothing that a terminal would act on.
fn cut(text: &str, most: usize) -> String {
    let mut kept = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > most {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_cut_to_its_bounds() {
        let place = Map::from([
            ("name", "m\u{1b}[31m".repeat(200)),
            ("state", "excellent".to_owned()),
            ("text", "é".repeat(1000)),
        ]);
        let data = Map::from([
            ("interval", Value::from(1e300)),
            ("serial", 7.into()),
            ("connected", Value::List(vec![Value::Nil, "m1".into()])),
            ("masters", Value::List(vec![place.into(); 100])),
            ("spool", (-5).into()),
            ("more", "x".repeat(1_000_000).into()),
        ]);
        let report = Report::of(&bounded(&data), 0);
        assert_eq!(report.connected, ["m1"]);
        assert_eq!((report.masters.len(), report.interval, report.spool), (MASTERS, 86_400, 0));
        let first = &report.masters[0];
        assert!(first.name.len() <= NAME && !first.name.contains('\u{1b}'));
        assert_eq!((first.state.as_str(), first.text.len()), ("unknown", TEXT));
        assert_eq!(bounded(&data).get("more"), None);
    }

    #[test]
    fn a_loss_is_counted_once_and_by_a_master_in_use() {
        let report = |via: &str, lost: i64, told: i64| {
            Map::from([
                ("connected", Value::List(vec!["m1".into()])),
                ("via", via.into()),
                ("lost", Value::from_iter([("publications", lost)])),
                ("lost_told", Value::from_iter([("publications", told)])),
            ])
        };
        let lost = |publications| Lost { publications, ..Lost::default() };
        assert_eq!(uncounted(&report("m1", 3, 0), None), (lost(3), lost(3)));
        let known = Map::from([("counted", lost(3).packed())]);
        // Its answer was lost, and then there is more.
        assert_eq!(uncounted(&report("m1", 3, 0), Some(&known)), (lost(0), lost(3)));
        assert_eq!(uncounted(&report("m1", 5, 3), Some(&known)), (lost(2), lost(5)));
        // A master it has just come to.
        assert_eq!(uncounted(&report("m1", 5, 4), None), (lost(1), lost(5)));
        // One that it stands by at.
        assert_eq!(uncounted(&report("m2", 5, 0), None), (lost(0), lost(0)));
        assert_eq!(uncounted(&report("m2", 5, 0), Some(&known)), (lost(0), lost(3)));
        assert_eq!(uncounted(&Map::new(), None), (lost(0), lost(0)), "a minion of before");
    }

    #[test]
    fn a_report_ages() {
        let report = Report { interval: 600, received: 1000, ..Report::default() };
        assert!(!report.is_stale(1000 + 1500));
        assert!(report.is_stale(1000 + 1600));
        assert!(!report.is_stale(0), "a clock that went back makes nothing stale");
    }
}
