//! What a run of the benchmarks consists of, as the command line says it.

use std::path::Path;

use super::{Bench, failover};
use crate::Peer;

/// How to call it.
pub const USAGE: &str = "\
cargo xtask bench [NAME ...] [OPTIONS]

Measures Saltern and real Salt alternately in one session. The minions are the same in both cases
(`saltern swarm`), so only the masters differ. Without a NAME, or with `all`, every bench runs.

  --salt WHICH      3006, 3008, both or none [both; with --quick 3006]
  --against PREFIX  also a virtual environment with another Salt, or a directory with another
                    build of Saltern (bin/saltern or saltern)
  --trials N        trials of each
  --size N          only this size (minions, listeners); may be given again
  --limit SECONDS   what takes longer is ended and told so [120; with --quick 60]
  --quick           few trials of small sizes: all benches in about 12 minutes
  --json            for programs; progress goes to standard error

failover only:
  --salt-trials N   trials of real Salt [5]
  --down SECONDS    how long all masters are down [60]
  --row TEXT        only rows whose names contain this

";

/// What is wanted.
#[derive(Debug)]
pub struct Plan {
    names: Vec<String>,
    /// Whom to measure, ours first.
    pub peers: Vec<Peer>,
    trials: Option<usize>,
    sizes: Vec<usize>,
    limit: Option<f64>,
    pub quick: bool,
    pub json: bool,
    salt_trials: usize,
    down: u64,
    row: String,
}

impl Plan {
    /// Reads the command line; the error is for people.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Plan {
            names: Vec::new(),
            peers: vec![Peer::Saltern],
            trials: None,
            sizes: Vec::new(),
            limit: None,
            quick: false,
            json: false,
            salt_trials: 5,
            down: 60,
            row: String::new(),
        };
        let (mut salt, mut others) = (None, Vec::new());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--json" => plan.json = true,
                "--quick" => plan.quick = true,
                "--alone" => salt = Some("none".to_owned()),
                "--salt" => salt = Some(value()?),
                "--against" => others.push(Peer::at(Path::new(&value()?))?),
                "--trials" => plan.trials = Some(number(&word, &value()?)?),
                "--size" => plan.sizes.push(number(&word, &value()?)?),
                "--limit" => plan.limit = Some(number(&word, &value()?)?),
                "--salt-trials" => plan.salt_trials = number(&word, &value()?)?,
                "--down" => plan.down = number(&word, &value()?)?,
                "--row" => plan.row = value()?,
                _ if word.starts_with("--") => return Err(format!("there is no option {word}")),
                _ => plan.names.push(word),
            }
        }
        let salt = salt.unwrap_or(if plan.quick { "3006" } else { "both" }.to_owned());
        plan.peers.extend(match salt.as_str() {
            "3006" => vec![Peer::Salt3006],
            "3008" => vec![Peer::Salt3008],
            "both" => vec![Peer::Salt3006, Peer::Salt3008],
            "none" => vec![],
            _ => return Err(format!("--salt {salt}: one of 3006, 3008, both and none is meant")),
        });
        plan.peers.extend(others);
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        let known = |name: &str| super::ALL.iter().any(|bench| bench.name == name);
        let other = |name: &str| matches!(name, "all" | "failover");
        match self.names.iter().find(|name| !known(name) && !other(name)) {
            Some(name) => Err(format!("there is no bench {name}")),
            None if self.trials == Some(0) => Err("--trials 0 measures nothing".to_owned()),
            None => Ok(()),
        }
    }

    /// Whether a bench is wanted. A quick run leaves out what takes hours unless it is named.
    pub fn wants(&self, name: &str) -> bool {
        let named = self.names.iter().any(|n| n == name);
        let all = self.names.is_empty() || self.names.iter().any(|n| n == "all");
        named || (all && !(self.quick && name == "failover"))
    }

    /// The sizes at which it runs, least first.
    pub(super) fn sizes(&self, bench: &Bench) -> Vec<usize> {
        let own = if self.quick { bench.quick } else { bench.sizes };
        // Where minions are simulated, any number of them is possible.
        let fleet = bench.sizes.iter().any(|size| *size >= 1000);
        let mut sizes = match fleet && !self.sizes.is_empty() {
            true => self.sizes.clone(),
            false => own.to_vec(),
        };
        sizes.sort_unstable();
        sizes
    }

    pub(super) fn trials(&self, bench: &Bench) -> usize {
        self.trials.unwrap_or(if self.quick { bench.trials.1 } else { bench.trials.0 })
    }

    /// Seconds after which something is ended.
    pub fn limit(&self) -> f64 {
        self.limit.unwrap_or(if self.quick { 60.0 } else { 120.0 })
    }

    /// The largest size at which real Salt runs.
    pub(super) fn salt_most(&self) -> usize {
        if self.quick && self.sizes.is_empty() { 1000 } else { usize::MAX }
    }

    /// The part of the bench that has rows of its own.
    pub fn failover(&self) -> failover::Plan {
        failover::Plan {
            trials: self.trials.unwrap_or(if self.quick { 3 } else { 20 }),
            salt_trials: self.salt_trials,
            limit: self.limit.unwrap_or(60.0),
            down: self.down,
            row: self.row.clone(),
            alone: self.peers.len() == 1,
        }
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option} {text}: a number is meant"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &str) -> Result<Plan, String> {
        Plan::read(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_quick_run_is_small_and_leaves_out_failover() {
        let quick = plan("all --quick").unwrap();
        assert_eq!(quick.peers, [Peer::Saltern, Peer::Salt3006]);
        assert!(quick.wants("publish") && !quick.wants("failover"));
        assert!(plan("failover --quick").unwrap().wants("failover"));
        let full = plan("").unwrap();
        assert_eq!(full.peers, [Peer::Saltern, Peer::Salt3006, Peer::Salt3008]);
        assert!(full.wants("publish") && full.wants("failover"));
    }

    #[test]
    fn a_size_is_for_benches_with_simulated_minions() {
        let plan = plan("--size 300 --size 20").unwrap();
        let sizes = |name: &str| {
            plan.sizes(super::super::ALL.iter().find(|bench| bench.name == name).unwrap())
        };
        assert_eq!(sizes("publish"), [20, 300]);
        assert_eq!(sizes("file"), [1, 100]);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (words, reason) in [
            ("nothing", "there is no bench nothing"),
            ("--fast", "there is no option --fast"),
            ("--size many", "--size many: a number is meant"),
            ("--salt 2015", "--salt 2015: one of 3006, 3008, both and none is meant"),
            ("--trials 0", "--trials 0 measures nothing"),
            ("--against /nowhere", "/nowhere: neither bin/saltern nor bin/salt-master is there"),
        ] {
            assert_eq!(plan(words).unwrap_err(), reason);
        }
    }
}
