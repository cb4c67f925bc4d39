//! What Saltern's minions and masters say to each other beyond Salt's fields when a minion signs
//! in: a map under the key `saltern` of the `_auth` request and of its answer. Both sides of real
//! Salt ignore it; the minion's reader is [`crate::auth::client::Hints`].

use std::time::Duration;

use saltern_value::{Map, Value};

use crate::auth::{SALTERN, VERIFY_MAX};

/// Longest version that is read.
const TEXT_MAX: usize = 256;

/// What a minion of ours says of itself when it signs in. Not signed: a hint, no proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// Its version.
    pub version: String,
    /// It stays with the master it has and only makes sure that it could come here.
    pub standby: bool,
    /// The fingerprints of the keys it can check a master's key with, as
    /// [`crate::auth::finger_on_wire`] writes them; `None` when it does not check.
    pub verify: Option<Vec<String>>,
}

impl Asker {
    /// Reads the load of a request; `None` for minions of real Salt, and for what does not fit.
    #[must_use]
    pub fn parse(load: &Map) -> Option<Self> {
        let map = load.get(SALTERN)?.as_map()?;
        let version = map.get_str("version").filter(|text| text.len() <= TEXT_MAX)?.to_owned();
        let standby = map.get("standby").is_some_and(Value::truthy);
        let verify = map.get("verify").and_then(Value::as_list).map(|fingers| {
            let fingers = fingers.iter().take(VERIFY_MAX).filter_map(Value::as_str);
            fingers.filter(|text| text.len() <= TEXT_MAX).map(str::to_owned).collect()
        });
        Some(Asker { version, standby, verify })
    }
}

/// Why a minion is refused, in more words than Salt has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The key waits for the operator.
    Pending,
    /// The operator has rejected the key.
    Rejected,
    /// Another key is on record for this id.
    Denied,
    /// `max_minions` are connected.
    Full,
    /// Too many sign-ins wait.
    Busy,
    /// The master is being emptied for maintenance.
    Draining,
}

impl Why {
    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Why::Pending => "pending",
            Why::Rejected => "rejected",
            Why::Denied => "denied",
            Why::Full => "full",
            Why::Busy => "busy",
            Why::Draining => "draining",
        }
    }

    /// What Salt's field `ret` says for it. `full` is what sends stock minions to their next
    /// master.
    #[must_use]
    pub fn ret(self) -> Value {
        match self {
            Why::Pending => Value::Bool(true),
            Why::Rejected | Why::Denied => Value::Bool(false),
            Why::Full | Why::Busy | Why::Draining => Value::from("full"),
        }
    }
}

/// What a master of ours says of itself in every answer, inside of what it signs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notice {
    /// The master's version.
    pub version: &'static str,
    /// Seconds since 1970 on the master's clock when it answers.
    pub time: f64,
    /// Minions connected to this master: how wide its minions spread what all of them do at once.
    pub minions: u64,
    /// How many seconds its minions are to pause between two heartbeats of the subscription.
    pub heartbeat: Option<f64>,
    /// How many seconds they are to pause between two probes of the request port.
    pub probe: Option<f64>,
}

/// The refusal of one sign-in.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Why.
    pub why: Why,
    /// The minion is not to ask this master again before this time is over; zero: whenever it
    /// wants.
    pub retry_after: Duration,
    /// The master to go to instead, by the name it has in the minion's configuration.
    pub to: Option<String>,
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        Refusal { why, retry_after: Duration::ZERO, to: None }
    }
}

impl Notice {
    /// The map of an answer. `why`, `retry_after` (seconds) and `to` (text, maybe empty) are in
    /// refusals only.
    #[must_use]
    pub fn to_map(&self, refusal: Option<&Refusal>) -> Map {
        let mut map = Map::from([
            ("version", Value::from(self.version)),
            ("time", Value::Float(self.time)),
            ("minions", Value::from(self.minions)),
            // Publications come to those who take topics only, too.
            ("topics", Value::from(true)),
        ]);
        for (name, pace) in [("heartbeat", self.heartbeat), ("probe", self.probe)] {
            if let Some(pace) = pace {
                map.insert(name, pace);
            }
        }
        if let Some(refusal) = refusal {
            map.insert("why", refusal.why.name());
            map.insert("retry_after", refusal.retry_after.as_secs_f64());
            map.insert("to", refusal.to.as_deref().unwrap_or_default());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_more_than_acceptances() {
        let mut notice = Notice { version: "1", time: 1.5, minions: 7, ..Notice::default() };
        assert_eq!(notice.to_map(None).len(), 4);
        notice.probe = Some(2.5);
        assert_eq!(notice.to_map(None).get("probe"), Some(&Value::Float(2.5)));
        let busy = Refusal { why: Why::Busy, retry_after: Duration::from_millis(2500), to: None };
        let map = notice.to_map(Some(&busy));
        assert_eq!((map.get_str("why"), map.get_str("to")), (Some("busy"), Some("")));
        assert_eq!(map.get("retry_after"), Some(&Value::Float(2.5)));
    }

    #[test]
    fn what_does_not_fit_is_nobody_of_ours() {
        let under = |map: Map| Map::from([(SALTERN, Value::Map(map))]);
        assert_eq!(Asker::parse(&Map::new()), None);
        assert_eq!(Asker::parse(&Map::from([(SALTERN, "text")])), None);
        let long = Map::from([("version", "x".repeat(TEXT_MAX + 1))]);
        assert_eq!(Asker::parse(&under(long)), None);
        let map = Map::from([("version", Value::from("1")), ("standby", true.into())]);
        assert_eq!(
            Asker::parse(&under(map)),
            Some(Asker { version: "1".into(), standby: true, verify: None })
        );
    }
}
