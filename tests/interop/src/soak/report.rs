//! What a soak came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::judge::{Promise, median, quantile};
use super::sample::{Rest, Sample};

pub struct Report {
    pub seed: u64,
    pub seconds: f64,
    pub minions: usize,
    pub masters: usize,
    /// Jobs, each published through all masters that ran.
    pub rounds: usize,
    /// By kind, how often.
    pub kinds: BTreeMap<String, usize>,
    /// Answers found at masters.
    pub stored: usize,
    /// Jobs that swarms wrote down as taken.
    pub written: usize,
    /// Rounds during which nobody was away.
    pub calm: usize,
    /// Jobs whose process was ended before it could answer.
    pub excused: usize,
    pub disturbances: BTreeMap<String, usize>,
    pub samples: Vec<Sample>,
    /// When, and how many milliseconds a job for ten minions took.
    pub latencies: Vec<(f64, f64)>,
    /// What waited at a master, now and then.
    pub queues: Vec<Value>,
    pub rest: Vec<Rest>,
    /// `manage.health` of each master at the end.
    pub health: Vec<Value>,
    /// How each swarm ended.
    pub swarms: Vec<(String, Value)>,
    pub promises: Vec<Promise>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.promises.iter().all(|promise| promise.kept)
    }

    pub fn json(&self) -> Value {
        let swarms: Map<String, Value> = self.swarms.iter().cloned().collect();
        json!({
            "seed": self.seed, "seconds": self.seconds, "minions": self.minions,
            "masters": self.masters, "rounds": self.rounds, "calm_rounds": self.calm,
            "jobs": self.kinds, "jobs_taken": self.written, "answers_stored": self.stored, "excused": self.excused,
            "disturbances": self.disturbances,
            "latency_ms": {"p50": self.latency(0.5), "p99": self.latency(0.99)},
            "latencies": self.latencies, "queues": self.queues,
            "samples": self.samples.iter().map(Sample::json).collect::<Vec<_>>(),
            "at_rest": self.rest.iter().map(Rest::json).collect::<Vec<_>>(),
            "health": self.health, "swarms": swarms,
            "promises": self.promises.iter().map(Promise::json).collect::<Vec<_>>(),
            "good": self.is_good(),
        })
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "soak: {:.0} s, {} minions, {} masters, seed {}\n",
            self.seconds, self.minions, self.masters, self.seed
        );
        for (what, counts) in [("jobs by kind", &self.kinds), ("disturbed", &self.disturbances)] {
            let counts: Vec<_> = counts.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
            let _ = writeln!(text, "{what:<28}{}", counts.join(", "));
        }
        for (what, count) in [
            ("rounds", self.rounds),
            ("  of these undisturbed", self.calm),
            ("jobs taken by swarms", self.written),
            ("answers stored", self.stored),
            ("ended before answering", self.excused),
        ] {
            let _ = writeln!(text, "{what:<28}{count}");
        }
        let (p50, p99) = (self.latency(0.5), self.latency(0.99));
        let _ = writeln!(text, "{:<28}p50 {p50:.0} ms, p99 {p99:.0} ms", "job of ten minions");
        self.table(&mut text);
        for promise in &self.promises {
            let kept = if promise.kept { "kept  " } else { "BROKEN" };
            let _ = writeln!(text, "{kept}  {}: {}", promise.name, promise.detail);
        }
        text
    }

    /// One row a master, over all its processes.
    fn table(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "{:<8}{:>20}{:>10}{:>20}{:>10}{:>10}",
            "master", "MiB (median, most)", "at rest", "descriptors (most)", "at rest", "threads"
        );
        for rest in &self.rest {
            let own = || self.samples.iter().filter(|s| s.master == rest.master);
            let memory = || own().map(|s| s.memory_mib);
            let most = |of: fn(&Sample) -> usize| own().map(of).max().unwrap_or(0);
            let spread = format!("{:.0}, {:.0}", median(memory()), quantile(memory(), 1.0));
            let _ = writeln!(
                text,
                "{:<8}{spread:>20}{:>10.0}{:>20}{:>10}{:>10}",
                rest.master + 1,
                rest.memory_mib,
                most(|s| s.descriptors),
                rest.descriptors,
                most(|s| s.threads),
            );
        }
    }

    fn latency(&self, part: f64) -> f64 {
        quantile(self.latencies.iter().map(|(_, ms)| *ms), part)
    }
}
