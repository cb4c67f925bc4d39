//! What a swarm is to be: how many minions, of what kind, at which masters.

use std::path::PathBuf;
use std::time::Duration;

use saltern_crypto::PublicKey;

use crate::distribution::Distribution;

/// One master.
#[derive(Clone, Debug)]
pub struct Place {
    /// As given.
    pub name: String,
    /// `host:port` of requests.
    pub requests: String,
    /// The host alone, in brackets where it is an IPv6 address.
    pub host: String,
}

/// Shares of minions that misbehave, in percent of the fleet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shares {
    /// Answer with a failure.
    pub failing: f64,
    /// Answer late, by [`Plan::slow_by`].
    pub slow: f64,
    /// Never answer.
    pub silent: f64,
    /// Cut their connections every [`Plan::flap_every`].
    pub flapping: f64,
}

/// A swarm to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to; the order is that of `master:`.
    pub masters: Vec<Place>,
    /// The port of publications; `None` = what the master says.
    pub publish_port: Option<u16>,
    /// How many minions.
    pub count: usize,
    /// Ids, filled with the number as [`fill`] does it.
    pub id: String,
    /// The number of the first one.
    pub first: usize,
    /// Every minion is connected to every master, as with a `master` list of type `str`.
    pub hot: bool,
    /// `random_master`
    pub random_master: bool,
    /// The key masters have their keys signed with; `None` = trust at first use.
    pub verify: Option<PublicKey>,
    /// `master_alive_interval`
    pub alive_interval: Option<Duration>,
    /// `failover_heartbeat_interval` and `failover_probe_interval`; zero switches both off.
    pub heartbeat: Option<Duration>,
    /// `failover_standby`
    pub standby: bool,
    /// Sign-ins begun each second; 0 = all at once.
    pub rate: f64,
    /// Grains as YAML, filled with the number and `{id}`; several are dealt out in turn, none stands
    /// for a small machine.
    pub grains: Vec<String>,
    /// Time an answer takes.
    pub latency: Distribution,
    /// Bytes of an answer.
    pub size: Distribution,
    /// Those that misbehave.
    pub shares: Shares,
    /// How late slow ones answer.
    pub slow_by: Duration,
    /// How often flapping ones cut their connections.
    pub flap_every: Duration,
    /// Returns each minion sends of itself once all are connected.
    pub flood: usize,
    /// Of all that is left to chance.
    pub seed: u64,
    /// No pillar, no start event.
    pub bare: bool,
    /// Where jobs taken and returns acknowledged are noted.
    pub journal: Option<PathBuf>,
}

impl Plan {
    /// The id of a minion by its position in this process.
    #[must_use]
    pub fn id_of(&self, position: usize) -> String {
        fill(&self.id, self.first + position)
    }

    /// The numbers of the keys that [`crate::Swarm::start`] wants, from a pool of that size or one
    /// for each minion. A minion's key depends on its own number alone, so that a fleet can be
    /// shared among processes in another way the next time.
    #[must_use]
    pub fn key_numbers(&self, pool: Option<usize>) -> Vec<usize> {
        match pool {
            None => (0..self.count).map(|position| self.first + position).collect(),
            Some(pool) => {
                let pool = pool.max(1);
                let numbers = 0..self.count.min(pool);
                numbers.map(|position| (self.first + position) % pool).collect()
            }
        }
    }

    /// How many connections to masters there are when all is well.
    pub(crate) fn wanted(&self) -> u64 {
        let each = if self.hot { self.masters.len() } else { 1 };
        (self.count * each) as u64
    }
}

/// Replaces `{n}` by a number, `{n:05}` by the same with zeros before it, `{n%10}` by its remainder.
#[must_use]
pub fn fill(pattern: &str, number: usize) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(at) = rest.find("{n") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = from.find('}') else {
            rest = from;
            break;
        };
        match filled(from.get(2..end).unwrap_or_default(), number) {
            Some(text) => out.push_str(&text),
            None => out.push_str(from.get(..=end).unwrap_or_default()),
        }
        rest = from.get(end + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// What stands for the number, by what follows `n`; nothing where that is no form of ours.
fn filled(form: &str, number: usize) -> Option<String> {
    if form.is_empty() {
        return Some(number.to_string());
    }
    let (kind, digits) = form.split_at_checked(1)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let operand: usize = digits.parse().ok()?;
    match kind {
        ":" => Some(format!("{number:0width$}", width = operand.min(20))),
        "%" => number.checked_rem(operand).map(|rest| rest.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_filled() {
        assert_eq!(fill("web-{n:04}.x", 7), "web-0007.x");
        assert_eq!(fill("{n}{n}", 12), "1212");
        assert_eq!(fill("plain{", 1), "plain{");
        assert_eq!(fill("rack-{n%4}", 7), "rack-3");
        for left in ["{name}", "{n: 1}", "{n:}", "{n%0}", "{n:x}", "{n+1}", "{n"] {
            assert_eq!(fill(left, 1), left);
        }
    }
}
