//! A fleet in simulated time: the real failover machine and the real rules of returns, under a
//! network and masters that fail by chance. Everything follows from a seed, so that what went
//! wrong once can be seen again.

mod clock;
mod faults;
mod invariants;
mod master;
mod minion;
mod net;
mod report;
mod trace;
mod work;
mod world;

pub use master::Sabotage;
pub use report::{History, Plan, Roads, Stats, Violation};

/// Simulates the history that grows from a seed; the same plan and seed give the same history to
/// the last line.
#[must_use]
pub fn simulate(seed: u64, plan: &Plan) -> History {
    world::World::new(seed, plan).run(seed)
}
