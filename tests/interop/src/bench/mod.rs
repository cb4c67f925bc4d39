//! Saltern beside real Salt, measured alternately in one session on the same machine: what is
//! measured (a file each), in a frame that is the same for all.

pub mod failover;
pub mod plan;
pub mod proc;
pub mod run;
pub mod table;

mod call;
mod daemon;
mod death;
mod events;
mod file;
mod floors;
mod goal;
mod herd;
mod idle;
mod job_cache;
mod listeners;
mod master;
mod minion;
mod publish;
mod publisher;
mod restart;
mod returns;
mod sign_in;
mod start;
mod trial;

pub use floors::reader;

use goal::Goal;
use plan::Plan;
use trial::Trial;

use crate::Peer;

/// One bench: what is made ready once and then measured, perhaps several figures of it.
pub struct Bench {
    pub name: &'static str,
    /// What it says, for `--help`.
    about: &'static str,
    /// Minions, or what else grows, least first.
    sizes: &'static [usize],
    /// The sizes of a quick run.
    quick: &'static [usize],
    /// How many of something CPU is told for, and what: `(1000.0, "returns")`.
    per: (f64, &'static str),
    /// Trials of a full and of a quick run.
    trials: (usize, usize),
    /// Makes everything ready, measures, and cleans up. The figure's name goes with each trial.
    measure: fn(Peer, usize, &Plan) -> Vec<(&'static str, Trial)>,
    /// What a figure has to reach at a size.
    goals: fn(&str, usize) -> Vec<Goal>,
}

/// All of them, in the order in which they run.
pub const ALL: &[Bench] = &[
    floors::BENCH,
    start::BENCH,
    call::BENCH,
    minion::BENCH,
    // Before those that leave much to be deleted: see `daemon::clear_later`.
    sign_in::BENCH,
    master::BENCH,
    idle::BENCH,
    publish::TO_ALL,
    publish::TARGETED,
    returns::BENCH,
    events::BENCH,
    file::BENCH,
    job_cache::BENCH,
    restart::BENCH,
    death::BENCH,
];

/// Their names and what they measure, a line each.
pub fn help() -> String {
    let failover = ("failover", "how long a minion is alone, and what becomes of its returns");
    let lines = ALL.iter().map(|b| (b.name, b.about)).chain([failover]);
    lines.map(|(name, about)| format!("  {name:<10} {about}\n")).collect()
}
