//! What minions lost by themselves and told this master of: counted once, however often it is told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use saltern_base::MinionId;
use saltern_value::{Map, Value};

use crate::context::lock;

/// No minion has more, whatever it says.
const MOST_RETURNS: u64 = 1 << 20;
const MOST: u64 = 1 << 32;

/// Bytes of the name of a telling, and minions of which the last one is known.
const TELLING: usize = 32;
const TELLINGS: usize = 1 << 17;

/// What a minion lost since its start, as it counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Returns and events for a master that it gave up.
    pub(crate) returns: u64,
    /// Publications that it could not open.
    pub(crate) publications: u64,
    /// Events on its own bus that somebody was too slow for.
    pub(crate) events: u64,
    /// What was fired there for a master, and is no event.
    pub(crate) events_malformed: u64,
}

impl Lost {
    /// What a mapping says; what it does not say is nought.
    pub(crate) fn of(map: &Map) -> Self {
        let number = |name: &str| {
            let number = map.get(name).and_then(Value::as_int).unwrap_or(0);
            u64::try_from(number).unwrap_or(0).min(MOST)
        };
        Lost {
            returns: number("returns"),
            publications: number("publications"),
            events: number("events"),
            events_malformed: number("events_malformed"),
        }
    }

    fn named(self) -> [(&'static str, u64); 4] {
        [
            ("returns", self.returns),
            ("publications", self.publications),
            ("events", self.events),
            ("events_malformed", self.events_malformed),
        ]
    }

    /// All of it as a mapping.
    pub(crate) fn shown(self) -> Map {
        Map::from(self.named())
    }

    /// The same without what is nought, which most of it is in most minions.
    pub(crate) fn packed(self) -> Map {
        self.named().into_iter().filter(|(_, number)| *number > 0).collect()
    }

    /// Whether there is any.
    pub(crate) fn any(self) -> bool {
        self != Lost::default()
    }

    /// The larger of each.
    pub(crate) fn max(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    /// What it is more than the other.
    pub(crate) fn beyond(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    fn with(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Lost {
            returns: both(self.returns, other.returns),
            publications: both(self.publications, other.publications),
            events: both(self.events, other.events),
            events_malformed: both(self.events_malformed, other.events_malformed),
        }
    }
}

/// The sums of all minions since the start of this master.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    returns: AtomicU64,
    publications: AtomicU64,
    events: AtomicU64,
    events_malformed: AtomicU64,
    /// The last event of each minion about returns that it gave up.
    heard: Mutex<HashMap<MinionId, String>>,
}

impl Losses {
    /// Counts returns that a minion says it gave up; `false` when it has said that before.
    pub(crate) fn dropped(&self, id: &MinionId, data: &Map) -> bool {
        let telling = data.get_str("telling").unwrap_or_default();
        // Minions of before give them no names.
        if !telling.is_empty() && telling.len() <= TELLING {
            let mut heard = lock(&self.heard);
            if heard.get(id).is_some_and(|last| last == telling) {
                return false;
            }
            if heard.len() >= TELLINGS {
                heard.clear();
            }
            heard.insert(id.clone(), telling.to_owned());
        }
        let count = data.get("count").and_then(Value::as_int).unwrap_or(1);
        self.returns.fetch_add(u64::try_from(count).unwrap_or(1).min(MOST_RETURNS), Relaxed);
        true
    }

    /// Counts what a report says and no master has heard before. Of returns there are events.
    pub(crate) fn reported(&self, fresh: Lost) {
        self.publications.fetch_add(fresh.publications, Relaxed);
        self.events.fetch_add(fresh.events, Relaxed);
        self.events_malformed.fetch_add(fresh.events_malformed, Relaxed);
    }

    /// The sums.
    pub(crate) fn sums(&self) -> Lost {
        Lost {
            returns: self.returns.load(Relaxed),
            publications: self.publications.load(Relaxed),
            events: self.events.load(Relaxed),
            events_malformed: self.events_malformed.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telling_counts_once_for_each_minion() {
        let losses = Losses::default();
        let [web1, web2] = ["web1", "web2"].map(|id| MinionId::parse(id).unwrap());
        let told = |count: i64, telling: &str| {
            Map::from([("count", Value::from(count)), ("telling", telling.into())])
        };
        assert!(losses.dropped(&web1, &told(3, "a")));
        assert!(!losses.dropped(&web1, &told(3, "a")), "its answer was lost");
        assert!(losses.dropped(&web2, &told(3, "a")));
        assert!(losses.dropped(&web1, &told(2, "b")));
        assert_eq!(losses.sums().returns, 8);
        assert!(losses.dropped(&web1, &told(1 << 40, "")) && losses.dropped(&web1, &Map::new()));
        assert_eq!(losses.sums().returns, 8 + MOST_RETURNS + 1);
    }
}
