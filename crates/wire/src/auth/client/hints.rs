//! What a Saltern master adds to its answers under the key `saltern`, inside the signed load.
//! Other masters send none of it, and nothing depends on it.

use std::time::Duration;

use saltern_value::{Map, Value};

use super::trust::Trust;
use crate::auth::{SALTERN, VERIFY_MAX, finger_on_wire};

/// Longest time a master may ask us to stay away: it must not be able to lock us out.
const LONGEST: Duration = Duration::from_secs(600);

/// Longest pause between two questions a master may ask for: it must not be able to make us blind.
const PACE_MAX: Duration = Duration::from_secs(60);

/// Longest text that is kept.
const TEXT: usize = 256;

/// Additions to an answer. Of an answer that was refused they are as trustworthy as the refusal
/// itself: without a key known beforehand anybody may have written them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// The master's version.
    pub version: Option<String>,
    /// The master's clock, in seconds since 1970.
    pub time: Option<f64>,
    /// How many minions are connected to it.
    pub minions: Option<u64>,
    /// How long it wants us to pause between two heartbeats of the subscription.
    pub heartbeat: Option<Duration>,
    /// How long it wants us to pause between two probes of its request port.
    pub probe: Option<Duration>,
    /// Its publications come to subscribers of their topics, too, whatever its `zmq_filtering` is.
    pub topics: bool,
    /// Why it refused, in one word.
    pub why: Option<String>,
    /// When to come again.
    pub retry_after: Option<Duration>,
    /// The master it would send us to.
    pub to: Option<String>,
}

impl Hints {
    /// Reads what can be read; what makes no sense is left out.
    pub(super) fn of(inner: &Map) -> Self {
        inner.get(SALTERN).map_or_else(Hints::default, Hints::of_notice)
    }

    /// Reads the answer to [`crate::command::NOTICE`] in the same way.
    #[must_use]
    pub fn of_notice(notice: &Value) -> Self {
        let Some(map) = notice.as_map() else { return Hints::default() };
        let text = |name: &str| {
            let text = map.get_str(name).filter(|text| !text.is_empty() && text.len() <= TEXT);
            text.map(str::to_owned)
        };
        let number = |name: &str| map.get(name).and_then(Value::as_f64).filter(|n| n.is_finite());
        let time = |name: &str| number(name).and_then(|s| Duration::try_from_secs_f64(s).ok());
        Hints {
            version: text("version"),
            time: number("time"),
            minions: map.get("minions").and_then(Value::as_int).and_then(|n| u64::try_from(n).ok()),
            heartbeat: time("heartbeat").map(|pace| pace.min(PACE_MAX)),
            probe: time("probe").map(|pace| pace.min(PACE_MAX)),
            topics: map.get("topics").is_some_and(Value::truthy),
            why: text("why"),
            retry_after: time("retry_after").map(|after| after.min(LONGEST)),
            to: text("to"),
        }
    }

    /// What we add to a request: our version, whether we only want to be ready for later, and,
    /// when we verify, the fingerprints of the verification keys we hold, so that a master in the
    /// middle of a roll-over signs with one of them, and knows of who holds none.
    pub(super) fn asked(standby: bool, trust: &Trust) -> Map {
        let mut map = Map::from([
            ("version", Value::from(env!("CARGO_PKG_VERSION"))),
            ("standby", Value::from(standby)),
        ]);
        if trust.verify_master_pubkey_sign {
            let keys = trust.verification_keys.iter().take(VERIFY_MAX);
            let fingers = keys.map(|v| finger_on_wire(&v.key));
            map.insert("verify", fingers.collect::<Vec<String>>());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_within_bounds_and_nonsense_is_left_out() {
        let map = Map::from([
            ("version", Value::from("1.2")),
            ("time", Value::from(12.5)),
            ("minions", Value::from(7)),
            ("topics", Value::from(true)),
            ("heartbeat", Value::from(2.5)),
            ("probe", Value::from(1e6)),
            ("why", Value::from("busy")),
            ("retry_after", Value::from(1e9)),
            ("to", Value::from("")),
        ]);
        let hints = Hints::of(&Map::from([(SALTERN, Value::Map(map))]));
        assert_eq!(hints.retry_after, Some(LONGEST));
        assert_eq!((hints.minions, hints.topics, hints.to), (Some(7), true, None));
        assert_eq!(hints.heartbeat, Some(Duration::from_millis(2500)));
        assert_eq!(hints.probe, Some(PACE_MAX));
        let bad = Map::from([
            ("probe", Value::from(-2)),
            ("retry_after", Value::from(-1.0)),
            ("minions", Value::from("x")),
        ]);
        let bad = Hints::of(&Map::from([(SALTERN, Value::Map(bad))]));
        assert_eq!(bad, Hints::default());
        assert_eq!(Hints::of(&Map::new()), Hints::default());
    }
}
