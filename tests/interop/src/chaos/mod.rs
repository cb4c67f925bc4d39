//! Random faults in a fleet of three masters and many minions under constant jobs, and the count
//! of what came of it: nothing lost, nothing twice, no minion alone for long.

mod faults;
mod ledger;
mod report;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::chaos::faults::Injector;
use crate::chaos::ledger::Ledger;
use crate::chaos::world::World;

pub use ledger::mark;
pub use report::Report;

/// What to run.
pub struct Plan {
    pub minutes: f64,
    pub seed: u64,
    pub minions: usize,
    /// The program `chaos`, which jobs call to leave their marks.
    pub program: PathBuf,
}

/// Between two jobs of the same master.
const BEAT: Duration = Duration::from_secs(1);

/// After the last fault: how long returns may take that a minion still has in its spool.
const SETTLE: Duration = Duration::from_secs(180);

/// Runs the plan; `None` where networks cannot be made.
pub fn run(plan: &Plan) -> Option<Report> {
    let mut world = World::begin(plan.minions)?;
    let mut faults = Injector::new(plan.seed);
    let mut ledger = Ledger::new(&mut world);
    let end = Instant::now() + Duration::from_secs_f64(plan.minutes * 60.0);
    let mut beat = Instant::now();
    while Instant::now() < end {
        faults.turn(&mut world);
        ledger.publish(&world, &plan.program);
        beat += BEAT;
        std::thread::sleep(beat.saturating_duration_since(Instant::now()));
    }
    faults.heal_all(&mut world);
    world.wait_all();
    Some(ledger.settle(&world, &faults, plan, SETTLE))
}
