//! The failover table: how long a minion is alone, and what becomes of its returns, with Salt
//! 3006.24, Salt 3008.2 and Saltern in the same run. Every program has a host of its own.

mod pair;
mod rows;
mod table;

use crate::Peer;

/// How much of it.
pub struct Plan {
    /// Trials of Saltern.
    pub trials: usize,
    /// Trials of each real Salt, most of which wait in vain until `limit`.
    pub salt_trials: usize,
    /// Seconds after which a trial counts as "never".
    pub limit: f64,
    /// Seconds for which all masters are down.
    pub down: u64,
    /// Only rows whose names contain this.
    pub row: String,
    /// Saltern only.
    pub alone: bool,
}

/// What trials of one implementation came to.
pub struct Cell {
    pub peer: Peer,
    /// Seconds; none = not within the limit.
    pub trials: Vec<Option<f64>>,
    /// What is to be said beyond seconds.
    pub note: String,
}

pub struct Row {
    pub what: &'static str,
    /// What Saltern has to reach.
    pub goal: Goal,
    pub cells: Vec<Cell>,
}

/// Seconds at most, and what the note must say.
#[derive(Clone, Copy)]
pub struct Goal {
    pub median: f64,
    pub worst: f64,
    pub text: &'static str,
}

/// Runs it; `None` where networks cannot be made.
pub fn run(plan: &Plan) -> Option<Vec<Row>> {
    drop(crate::Net::new("bench failover")?);
    let peers: &[Peer] = match plan.alone {
        true => &[Peer::Saltern],
        false => &[Peer::Salt3006, Peer::Salt3008, Peer::Saltern],
    };
    let wanted = rows::ALL.iter().filter(|(what, ..)| what.contains(&plan.row));
    let row = |(what, goal, measure): &(&'static str, Goal, rows::Measure)| {
        let cells = peers.iter().map(|peer| {
            eprintln!("bench failover: {what}: {} ...", peer.version());
            let trials = if *peer == Peer::Saltern { plan.trials } else { plan.salt_trials };
            let cell = measure(*peer, trials, plan);
            eprintln!("  {}", table::shown(&cell, plan));
            cell
        });
        Row { what, goal: *goal, cells: cells.collect() }
    };
    Some(wanted.map(row).collect())
}

pub use table::{json, text};
