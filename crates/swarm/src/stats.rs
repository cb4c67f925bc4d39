//! What happened in a swarm: counters and times, and how they are told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use saltern_value::{Map, Value};

/// Steps of a [`Times`] between one power of two and the next.
const STEPS: u64 = 16;

/// Different errors kept by name; further ones count as `other`.
const ERRORS: usize = 50;

/// Times in classes that are 6 % wide.
#[derive(Debug)]
pub(crate) struct Times {
    classes: Vec<AtomicU64>,
    max: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        let classes = (0..STEPS * 40).map(|_| AtomicU64::new(0)).collect();
        Times { classes, max: AtomicU64::new(0) }
    }
}

impl Times {
    /// Counts one.
    pub(crate) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.max.fetch_max(micros, Ordering::Relaxed);
        let class = usize::try_from(class_of(micros)).unwrap_or(usize::MAX);
        if let Some(class) = self.classes.get(class.min(self.classes.len() - 1)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Milliseconds within which that share of them stayed; `None` without any.
    #[must_use]
    pub(crate) fn share(&self, share: f64) -> Option<f64> {
        let counts: Vec<u64> =
            self.classes.iter().map(|class| class.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let max = self.max();
        #[allow(clippy::cast_precision_loss)]
        let wanted = all as f64 * share;
        let mut seen = 0;
        for (class, count) in counts.iter().enumerate() {
            seen += count;
            #[allow(clippy::cast_precision_loss)]
            if *count > 0 && seen as f64 >= wanted {
                return Some(upper_of(class as u64).min(max));
            }
        }
        None
    }

    /// The longest, in milliseconds.
    #[allow(clippy::cast_precision_loss)]
    #[must_use]
    pub(crate) fn max(&self) -> f64 {
        self.max.load(Ordering::Relaxed) as f64 / 1e3
    }

    fn shown(&self) -> Value {
        let round = |ms: f64| Value::Float((ms * 1e3).round() / 1e3);
        let share = |share| self.share(share).map_or(Value::Nil, round);
        let max = if self.share(1.0).is_some() { round(self.max()) } else { Value::Nil };
        Value::from_iter([("p50", share(0.5)), ("p99", share(0.99)), ("max", max)])
    }
}

fn class_of(micros: u64) -> u64 {
    let power = u64::from(63 - micros.leading_zeros());
    if power < 4 {
        return micros;
    }
    (power - 3) * STEPS + ((micros >> (power - 4)) & (STEPS - 1))
}

/// The upper end of a class, in milliseconds.
#[allow(clippy::cast_precision_loss)]
fn upper_of(class: u64) -> f64 {
    let micros = if class < STEPS {
        class + 1
    } else {
        let (power, step) = (class / STEPS + 3, class % STEPS);
        (STEPS + step + 1) << (power - 4)
    };
    micros as f64 / 1e3
}

/// Counters of a swarm. All but the gauges only grow.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Gauge: sign-ins under way, standbys included.
    pub signing_in: AtomicU64,
    /// Gauge: minions whose key waits for acceptance.
    pub pending: AtomicU64,
    /// Gauge: minions subscribed to a master.
    pub connected: AtomicU64,
    /// Gauge: minions that were connected and are not now.
    pub lost: AtomicU64,
    /// Sign-ins that worked.
    pub sign_ins: AtomicU64,
    /// Changes from one master to another.
    pub switches: AtomicU64,
    /// Losses of a master after which there was one again.
    pub gaps: AtomicU64,
    /// Publications received.
    pub publications: AtomicU64,
    /// Those that meant the minion.
    pub jobs: AtomicU64,
    /// Returns that a master has acknowledged.
    pub answered: AtomicU64,
    /// Minions that have answered a job, or sent their flood.
    pub minions_answered: AtomicU64,
    /// Jobs left without an answer on purpose.
    pub unanswered: AtomicU64,
    /// Returns given up.
    pub failed: AtomicU64,
    /// Returns sent again.
    pub retries: AtomicU64,
    /// From the start of a sign-in to its end.
    pub sign_in: Times,
    /// From a publication's arrival to its return's acknowledgement.
    pub answer: Times,
    /// From the loss of a master to the next subscription.
    pub gap: Times,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// One more, or one less.
pub(crate) fn more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn less(counter: &AtomicU64) {
    counter.fetch_sub(1, Ordering::Relaxed);
}

impl Stats {
    /// Counts something that went wrong, by what it was.
    pub(crate) fn error(&self, what: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let what = if errors.len() < ERRORS || errors.contains_key(what) { what } else { "other" };
        *errors.entry(what.to_owned()).or_default() += 1;
    }

    /// All of it, as one flat map and a few below it.
    pub(crate) fn shown(&self) -> Map {
        let mut map = Map::new();
        for (name, counter) in [
            ("signing_in", &self.signing_in),
            ("pending", &self.pending),
            ("connected", &self.connected),
            ("lost", &self.lost),
            ("sign_ins", &self.sign_ins),
            ("switches", &self.switches),
            ("gaps", &self.gaps),
            ("publications", &self.publications),
            ("jobs", &self.jobs),
            ("answered", &self.answered),
            ("minions_answered", &self.minions_answered),
            ("unanswered", &self.unanswered),
            ("failed", &self.failed),
            ("retries", &self.retries),
        ] {
            map.insert(name, counter.load(Ordering::Relaxed));
        }
        let times = [("sign_in", &self.sign_in), ("answer", &self.answer), ("gap", &self.gap)];
        let times = times.into_iter().map(|(name, times)| (name, times.shown()));
        map.insert("latency_ms", Value::from_iter(times));
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = errors.iter().map(|(what, count)| (what.as_str(), Value::from(*count)));
        map.insert("errors", Value::Map(errors.collect()));
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_right_within_their_classes() {
        let times = Times::default();
        for micros in 1..=10_000 {
            times.add(Duration::from_micros(micros));
        }
        for (share, ms) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0)] {
            let found = times.share(share).unwrap();
            assert!((found - ms).abs() <= ms * 0.07, "{share}: {found}");
        }
        assert_eq!(Times::default().share(0.5), None);
        for micros in [1, 15, 16, 17, 31, 32, 1000, 123_456, u64::MAX] {
            let class = class_of(micros);
            assert!(upper_of(class) * 1e3 >= micros.min(1 << 40) as f64 || micros == u64::MAX);
        }
    }
}
