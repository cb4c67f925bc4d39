//! What is known of one minion, and what becomes of it when its master dies.

use std::collections::{BTreeMap, HashMap};

use super::Ids;
use super::stock::Answer;
use crate::readiness::{Place, Report};

/// What becomes of a minion whose master dies now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Another master takes it.
    Safe,
    /// None does.
    Lost,
    /// It cannot be told.
    Unknown,
    /// It is not connected anyway.
    Away,
}

/// One minion.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) fate: Fate,
    /// The fate in a sentence.
    pub(super) why: String,
    /// Connected to this master.
    pub(super) here: bool,
    /// The masters it is connected to, by its names for them.
    pub(super) on: Vec<String>,
    /// Its name for this master, where it has one.
    pub(super) via: String,
    pub(super) ready: Vec<String>,
    pub(super) not_ready: Vec<Place>,
    pub(super) unknown: Vec<String>,
    /// Masters in use or ready, of which there is something to say (a clock that is wrong).
    pub(super) warnings: Vec<Place>,
    /// Sends no reports.
    pub(super) stock: bool,
    /// Seconds since its last report.
    pub(super) age: Option<u64>,
    pub(super) stale: bool,
    pub(super) report: Option<Report>,
}

/// What this master knows of its fleet.
pub(super) struct Seen {
    pub(super) accepted: Vec<String>,
    pub(super) connected: Ids,
    /// Connections that carry a minion's name: minions of this program.
    pub(super) named: Ids,
    pub(super) reports: HashMap<String, Report>,
    pub(super) now: u64,
}

impl Seen {
    /// Those connected here of whom only a question can tell something.
    pub(super) fn silent(&self) -> Vec<String> {
        let silent = |id: &&String| !self.named.contains(*id) && !self.reports.contains_key(*id);
        self.connected.iter().filter(silent).cloned().collect()
    }

    /// One row for each accepted minion.
    pub(super) fn rows(mut self, asked: &BTreeMap<String, Answer>) -> Vec<Row> {
        let ids = std::mem::take(&mut self.accepted);
        ids.into_iter().map(|id| self.row(id, asked)).collect()
    }

    fn row(&mut self, id: String, asked: &BTreeMap<String, Answer>) -> Row {
        let here = self.connected.contains(&id);
        match self.reports.remove(&id) {
            Some(report) => reported(id, here, report, self.now),
            None if !here => Row::bare(id, Fate::Away, "not connected", false),
            None if self.named.contains(&id) => {
                Row::bare(id, Fate::Unknown, "has not reported yet", true)
            }
            None => {
                let answer = asked.get(&id);
                let (fate, why) = answer.map_or_else(
                    || (Fate::Unknown, "sends no reports and was not asked".to_owned()),
                    Answer::judge,
                );
                let on = answer.and_then(|a| a.master()).into_iter().collect();
                Row { stock: true, on, ..Row::bare(id, fate, &why, true) }
            }
        }
    }
}

impl Row {
    fn bare(id: String, fate: Fate, why: &str, here: bool) -> Row {
        Row {
            id,
            fate,
            why: why.to_owned(),
            here,
            on: Vec::new(),
            via: String::new(),
            ready: Vec::new(),
            not_ready: Vec::new(),
            unknown: Vec::new(),
            warnings: Vec::new(),
            stock: false,
            age: None,
            stale: false,
            report: None,
        }
    }
}

/// A minion that reports.
fn reported(id: String, here: bool, report: Report, now: u64) -> Row {
    let (stale, age) = (report.is_stale(now), now.saturating_sub(report.received));
    let told_here = report.connected.contains(&report.via);
    // Who is connected here and said otherwise has just come; who said so and is not has gone.
    let on: Vec<String> = match (here, told_here) {
        (true, true) => report.connected.clone(),
        (true, false) => vec![report.via.clone()],
        (false, _) => report.connected.iter().filter(|n| **n != report.via).cloned().collect(),
    };
    let elsewhere = |place: &&Place| !on.contains(&place.name);
    let names = |state: &str| -> Vec<String> {
        report.in_state(state).filter(elsewhere).map(|place| place.name.clone()).collect()
    };
    let (ready, mut unknown) = (names("ready"), names("unknown"));
    if here && !told_here {
        // It was there a moment ago; whether it could go back is not said yet.
        unknown.extend(names("current"));
    }
    let not_ready: Vec<Place> = report.in_state("not ready").filter(elsewhere).cloned().collect();
    let fine = report.masters.iter().filter(|p| matches!(p.state.as_str(), "current" | "ready"));
    let warnings: Vec<Place> = fine.filter(|place| !place.reason.is_empty()).cloned().collect();
    let (fate, why) = if on.is_empty() || (!here && stale) {
        let last = report.connected.first().cloned().unwrap_or_default();
        (Fate::Away, format!("not connected; was on {last} when it reported last"))
    } else if !ready.is_empty() {
        (Fate::Safe, format!("goes to {}", ready.join(" or ")))
    } else if on.len() > 1 {
        (Fate::Safe, "the other connections stay".to_owned())
    } else if !unknown.is_empty() {
        (Fate::Unknown, format!("not tried yet: {}", unknown.join(", ")))
    } else if not_ready.is_empty() {
        (Fate::Lost, "has no other master on its list".to_owned())
    } else {
        (Fate::Lost, "no other master would take it".to_owned())
    };
    let on = if fate == Fate::Away { Vec::new() } else { on };
    Row {
        id,
        fate,
        why,
        here,
        on,
        via: report.via.clone(),
        ready,
        not_ready,
        unknown,
        warnings,
        stock: false,
        age: Some(age),
        stale,
        report: Some(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(connected: &[&str], via: &str, masters: &[(&str, &str)]) -> Report {
        let masters = masters.iter().map(|(name, state)| Place {
            name: (*name).to_owned(),
            state: (*state).to_owned(),
            ..Place::default()
        });
        Report {
            connected: connected.iter().map(|n| (*n).to_owned()).collect(),
            via: via.to_owned(),
            masters: masters.collect(),
            interval: 600,
            received: 10_000,
            ..Report::default()
        }
    }

    fn fate(here: bool, report: Report) -> (Fate, Vec<String>) {
        let row = reported("web1".to_owned(), here, report, 10_010);
        (row.fate, row.on)
    }

    #[test]
    fn who_has_another_master_is_safe() {
        let two = [("m1", "current"), ("m2", "ready")];
        assert_eq!(fate(true, report(&["m1"], "m1", &two)), (Fate::Safe, vec!["m1".to_owned()]));
        let refused = [("m1", "current"), ("m2", "not ready")];
        assert_eq!(fate(true, report(&["m1"], "m1", &refused)).0, Fate::Lost);
        let alone = [("m1", "current")];
        assert_eq!(fate(true, report(&["m1"], "m1", &alone)).0, Fate::Lost);
        let untried = [("m1", "current"), ("m2", "unknown")];
        assert_eq!(fate(true, report(&["m1"], "m1", &untried)).0, Fate::Unknown);
        let hot = [("m1", "current"), ("m2", "current")];
        assert_eq!(fate(true, report(&["m1", "m2"], "m1", &hot)).0, Fate::Safe);
    }

    #[test]
    fn the_connection_counts_more_than_the_report() {
        let two = [("m1", "current"), ("m2", "ready")];
        // Reported from m1 to its standby m2, this master.
        let there = fate(false, report(&["m1"], "m2", &two));
        assert_eq!(there, (Fate::Safe, vec!["m1".to_owned()]));
        let just_come = fate(true, report(&["m1"], "m2", &two));
        assert_eq!(just_come, (Fate::Unknown, vec!["m2".to_owned()]));
        let gone = fate(false, report(&["m1"], "m1", &two));
        assert_eq!(gone, (Fate::Away, Vec::new()));
    }

    #[test]
    fn a_stale_report_from_elsewhere_says_nothing() {
        let two = [("m1", "current"), ("m2", "ready")];
        let row = reported("web1".to_owned(), false, report(&["m1"], "m2", &two), 20_000);
        assert_eq!((row.fate, row.stale), (Fate::Away, true));
        let row = reported("web1".to_owned(), true, report(&["m1"], "m1", &two), 20_000);
        assert_eq!((row.fate, row.stale), (Fate::Safe, true), "connected, but silent: marked");
    }
}
