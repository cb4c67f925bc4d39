//! What is asked of a simulation, and what comes out of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::master::Sabotage;

/// What kind of history is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long it lasts, in simulated minutes. The last one and a half see no new fault.
    pub minutes: f64,
    /// Whether faults happen.
    pub faults: bool,
    /// How many masters; by chance when not said.
    pub masters: Option<usize>,
    /// How many minions; by chance when not said.
    pub minions: Option<usize>,
    /// Minions have the default options instead of options drawn by chance.
    pub defaults: bool,
    /// What the network is like all the time.
    pub roads: Option<Roads>,
    /// Flaws on purpose.
    pub sabotage: Sabotage,
    /// Keep every line of the trace, probes included.
    pub trace: bool,
}

/// What every path of a network is like, each way.
#[derive(Clone, Copy, Debug)]
pub struct Roads {
    /// How long a packet takes, give or take a tenth.
    pub delay: Duration,
    /// How many of them are lost, as a part of one.
    pub loss: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            minutes: 10.0,
            faults: true,
            masters: None,
            minions: None,
            defaults: false,
            roads: None,
            sabotage: Sabotage::default(),
            trace: false,
        }
    }
}

/// Something that must not happen did.
#[derive(Clone, Debug)]
pub struct Violation {
    /// When, since the history began.
    pub at: Duration,
    /// What was promised.
    pub invariant: &'static str,
    /// What happened instead.
    pub detail: String,
}

/// Counted over one history or many.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Simulated time.
    pub simulated: Duration,
    /// Events of the simulation.
    pub events: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Tries to reach a master, preparations included.
    pub attempts: u64,
    /// Connections taken into use.
    pub adoptions: u64,
    /// Of which replaced one to the same master that had gone silent.
    pub refreshes: u64,
    /// Changes from one master to another.
    pub switches: u64,
    /// Those by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Requests to leave that nobody answered with a place.
    pub leaves_failed: u64,
    /// Jobs published.
    pub jobs: u64,
    /// Jobs run, each minion counted.
    pub runs: u64,
    /// Returns sent.
    pub sends: u64,
    /// Returns stored.
    pub returns: u64,
    /// Of which said that the minion ended while the job ran.
    pub lost_jobs: u64,
    /// Returns that came again and were only acknowledged.
    pub repeated: u64,
    /// Longest time without service while a master was there and answers were quick.
    pub longest_calm: Duration,
    /// The same while answers were slow.
    pub longest_rough: Duration,
    /// Most inputs and actions of one machine in one second.
    pub busiest: u32,
}

impl Stats {
    /// Adds another history's.
    pub fn add(&mut self, other: &Stats) {
        self.simulated += other.simulated;
        self.events += other.events;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        self.attempts += other.attempts;
        self.adoptions += other.adoptions;
        self.refreshes += other.refreshes;
        self.switches += other.switches;
        self.leaves_failed += other.leaves_failed;
        self.jobs += other.jobs;
        self.runs += other.runs;
        self.sends += other.sends;
        self.returns += other.returns;
        self.lost_jobs += other.lost_jobs;
        self.repeated += other.repeated;
        self.longest_calm = self.longest_calm.max(other.longest_calm);
        self.longest_rough = self.longest_rough.max(other.longest_rough);
        self.busiest = self.busiest.max(other.busiest);
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated.as_secs_f64() / 3600.0;
        writeln!(f, "simulated      {hours:.1} hours, {} events", self.events)?;
        let faults: u64 = self.faults.values().sum();
        writeln!(f, "faults         {faults}")?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<28} {count}")?;
        }
        writeln!(f, "attempts       {}, {} taken into use", self.attempts, self.adoptions)?;
        writeln!(f, "switches       {}, and {} refreshed", self.switches, self.refreshes)?;
        for (reason, count) in &self.reasons {
            writeln!(f, "  {reason:<28} {count}")?;
        }
        writeln!(f, "leaves failed  {}", self.leaves_failed)?;
        writeln!(f, "jobs           {} published, {} run", self.jobs, self.runs)?;
        writeln!(
            f,
            "returns        {} sent, {} stored, {} of them of jobs cut short, {} repeated",
            self.sends, self.returns, self.lost_jobs, self.repeated
        )?;
        writeln!(
            f,
            "longest gap    {:.2} s when answers are quick, {:.2} s when they are slow",
            self.longest_calm.as_secs_f64(),
            self.longest_rough.as_secs_f64()
        )?;
        write!(f, "busiest        {} inputs and actions in one second", self.busiest)
    }
}

/// One history, told.
#[derive(Clone, Debug)]
pub struct History {
    /// What it grew from.
    pub seed: u64,
    /// What was counted.
    pub stats: Stats,
    /// What went wrong, if anything.
    pub violation: Option<Violation>,
    /// The last lines of what happened, or all of them.
    pub trace: Vec<String>,
    /// Of all lines; equal for equal histories.
    pub hash: u64,
}
