//! What came of it, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use saltern_value::{Map, Value, json};

/// The figures of one demonstration.
pub(super) struct Report {
    pub(super) killed: String,
    pub(super) switched: BTreeMap<String, Duration>,
    pub(super) jid: String,
    /// All minions of the fleet.
    pub(super) minions: usize,
    /// Those that were on the master when it was killed.
    pub(super) expected: usize,
    pub(super) returned: usize,
    pub(super) answering: usize,
    pub(super) sign_in: Duration,
}

impl Report {
    /// Whether everything the demonstration promises has happened.
    pub(super) fn good(&self) -> bool {
        self.returned == self.expected && self.answering == self.minions
    }

    /// Switch-over times in milliseconds: least, median, most.
    fn times(&self) -> Option<(f64, f64, f64)> {
        let mut all: Vec<f64> = self.switched.values().map(millis).collect();
        all.sort_by(f64::total_cmp);
        Some((*all.first()?, *all.get(all.len() / 2)?, *all.last()?))
    }

    /// Sentences.
    pub(super) fn text(&self) -> String {
        let times = self.times().map_or_else(
            || "no minion was connected to it".to_owned(),
            |(least, median, most)| {
                format!(
                    "{} minions went on elsewhere after {least:.0} / {median:.0} / {most:.0} ms \
                     (least / median / most)",
                    self.switched.len()
                )
            },
        );
        format!(
            "{} was killed: {times}\njob {} was running then: {} of {} returns arrived\n\
             {} of {} minions answer on the masters that are left",
            self.killed, self.jid, self.returned, self.expected, self.answering, self.minions
        )
    }

    /// One JSON document.
    pub(super) fn json(&self) -> String {
        let switched: Map =
            self.switched.iter().map(|(id, took)| (id.as_str(), millis(took))).collect();
        let mut report = Map::from([
            ("killed_master", Value::from(self.killed.as_str())),
            ("sign_in_ms", millis(&self.sign_in).into()),
            ("switch_over_ms", switched.into()),
            ("job", self.jid.as_str().into()),
            ("minions", self.minions.into()),
            ("minions_on_killed_master", self.expected.into()),
            ("returns", self.returned.into()),
            ("answering_after", self.answering.into()),
            ("ok", self.good().into()),
        ]);
        if let Some((least, median, most)) = self.times() {
            let times = Map::from([("least", least), ("median", median), ("most", most)]);
            report.insert("switch_over", times);
        }
        json::to_string(&Value::Map(report), Some(2))
    }
}

/// Milliseconds to two digits.
fn millis(duration: &Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}
