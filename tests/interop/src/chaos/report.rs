//! What a run of chaos came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

pub struct Report {
    pub seed: u64,
    pub seconds: f64,
    /// By kind, how often.
    pub faults: BTreeMap<String, usize>,
    pub switches: usize,
    /// Per minion the longest time without a master, in seconds, its own faults left out.
    pub gaps: BTreeMap<String, f64>,
    /// Jobs of which the master said that it published them.
    pub sent: usize,
    /// Jobs of which that is not known: the master failed meanwhile.
    pub unsure: usize,
    /// How often a minion ran a job.
    pub ran: usize,
    /// Returns stored at some master: one per job and minion.
    pub stored: usize,
    /// Of these, how many are at two masters: the first could not say that it had stored it.
    pub copies: usize,
    /// Jobs that ran and of which no master has a return.
    pub lost: Vec<String>,
    /// Jobs a minion ran twice.
    pub duplicated: Vec<String>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty()
    }

    pub fn longest_gap(&self) -> f64 {
        self.gaps.values().copied().fold(0.0, f64::max)
    }

    pub fn json(&self) -> Value {
        json!({
            "seed": self.seed, "seconds": self.seconds, "faults": self.faults,
            "switches": self.switches, "longest_gap": self.longest_gap(), "gaps": self.gaps,
            "jobs_sent": self.sent, "jobs_unsure": self.unsure, "runs": self.ran,
            "returns_stored": self.stored, "stored_at_two_masters": self.copies,
            "lost": self.lost, "duplicated": self.duplicated,
        })
    }

    pub fn text(&self) -> String {
        let mut text =
            format!("chaos: {:.0} s, seed {}\nfaults by kind:\n", self.seconds, self.seed);
        for (kind, count) in &self.faults {
            let _ = writeln!(text, "  {kind:<24}{count:>6}");
        }
        let _ = writeln!(text, "switches                  {:>6}", self.switches);
        text.push_str("longest gap per minion (s):\n ");
        for (minion, gap) in &self.gaps {
            let _ = write!(text, " {minion} {gap:.1}");
        }
        let _ = writeln!(text, "\nlongest gap of all        {:>8.1} s", self.longest_gap());
        for (what, count) in [
            ("jobs sent", self.sent),
            ("jobs perhaps sent", self.unsure),
            ("runs of jobs", self.ran),
            ("returns stored", self.stored),
            ("  of these at two masters", self.copies),
            ("lost", self.lost.len()),
            ("duplicated", self.duplicated.len()),
        ] {
            let _ = writeln!(text, "{what:<26}{count:>6}");
        }
        for (what, list) in [("lost", &self.lost), ("run twice", &self.duplicated)] {
            for entry in list.iter().take(20) {
                let _ = writeln!(text, "{what}: job {entry}");
            }
        }
        text
    }
}
