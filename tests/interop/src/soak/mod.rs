//! Hours of ordinary and extraordinary operation: masters that share a signing key, a swarm of
//! minions and a few real ones, jobs of every size, churn, key rotation, restarts of masters; at
//! the end it is judged whether anything was lost and whether memory, descriptors and latency
//! stayed flat.

mod disturb;
mod health;
mod judge;
mod ledger;
mod report;
mod rounds;
mod sample;
mod world;

use std::time::{Duration, Instant};

use crate::wait;
use disturb::Disturber;
use ledger::Ledger;
use rounds::Rounds;
use sample::Sampler;
use world::World;

pub use judge::Promise;
pub use report::Report;

/// What to run.
pub struct Plan {
    pub seconds: f64,
    pub seed: u64,
    /// Simulated minions; a few real ones come on top.
    pub minions: usize,
    pub masters: usize,
    /// Whether a minion of real Salt takes part.
    pub stock: bool,
    /// Whether the directory with all logs is kept.
    pub keep: bool,
}

impl Plan {
    /// Whether it lasts long enough for times and slow growth to be judged. On a small machine
    /// that is busy with other things a shorter run would only measure the others.
    fn judges_time(&self) -> bool {
        self.seconds >= 1200.0
    }

    /// Seconds between two restarts of a master.
    fn restart_every(&self) -> f64 {
        (self.seconds / 2.0).min(600.0)
    }
}

/// How long returns may take after the last disturbance, and all else that is waited for then.
const SETTLE: Duration = Duration::from_secs(180);

/// Between two rounds of jobs.
const BEAT: Duration = Duration::from_secs(2);

/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(10);

/// Runs the plan; `tell` is given a line of progress now and then.
pub fn run(plan: &Plan, tell: &dyn Fn(String)) -> Report {
    tell("starting masters and minions".to_owned());
    let mut world = World::begin(plan);
    let mut soak = Soak {
        ledger: Ledger::new(&world),
        rounds: Rounds::new(plan.seed),
        disturber: Disturber::new(plan),
        sampler: Sampler::new(&mut world),
        begun: Instant::now(),
    };
    world.connect_all();
    soak.begun = Instant::now();
    soak.disturber = Disturber::new(plan);
    tell(format!("all are connected; {:.0} s begin", plan.seconds));
    soak.work(&mut world, plan, tell);
    soak.settle(world, plan, tell)
}

/// A run under way.
struct Soak {
    ledger: Ledger,
    rounds: Rounds,
    disturber: Disturber,
    sampler: Sampler,
    begun: Instant,
}

impl Soak {
    fn work(&mut self, world: &mut World, plan: &Plan, tell: &dyn Fn(String)) {
        let end = self.begun + Duration::from_secs_f64(plan.seconds);
        let mut beat = Instant::now();
        let mut told = Instant::now();
        while Instant::now() < end {
            self.disturber.turn(world);
            let round = self.rounds.next(world);
            self.ledger.open(round);
            // Two for each that is opened: what waited during a disturbance is made up for.
            self.ledger.look(world);
            self.ledger.look(world);
            self.sampler.turn(world, self.begun, plan);
            if told.elapsed() >= TELL {
                told = Instant::now();
                tell(self.progress(world));
            }
            beat = (beat + BEAT).max(Instant::now());
            std::thread::sleep(beat.saturating_duration_since(Instant::now()));
        }
    }

    fn progress(&self, world: &mut World) -> String {
        format!(
            "{:>6.0} s  {} connected  {} rounds ({} open), {} answers stored  {}  last: {}",
            self.begun.elapsed().as_secs_f64(),
            world.connected(),
            self.ledger.rounds,
            self.ledger.open.len(),
            self.ledger.stored,
            self.sampler.shown(),
            self.disturber.last,
        )
    }

    /// Ends all disturbances, waits for what is still due, empties the masters and judges.
    fn settle(mut self, mut world: World, plan: &Plan, tell: &dyn Fn(String)) -> Report {
        let seconds = self.begun.elapsed().as_secs_f64();
        tell("the last disturbance is over; waiting for returns that are due".to_owned());
        self.disturber.heal(&mut world);
        world.connect_all();
        self.ledger.open(self.rounds.last(&mut world));
        self.ledger.settle(&mut world, SETTLE);
        let health = health::of_all(&world);
        let ends = world.end_minions();
        tell("all minions have ended; waiting for the masters to let go of them".to_owned());
        let rest = self.sampler.wait_rest(&mut world, wait::LONG);
        let promises = judge::judge(&judge::Evidence {
            plan,
            ledger: &self.ledger,
            sampler: &self.sampler,
            disturber: &self.disturber,
            health: &health,
            ends: &ends,
            rest: &rest,
        });
        Report {
            seed: plan.seed,
            seconds,
            minions: plan.minions,
            masters: plan.masters,
            rounds: self.ledger.rounds,
            kinds: self.rounds.made,
            stored: self.ledger.stored,
            written: self.ledger.written,
            calm: self.ledger.calm,
            excused: self.ledger.excused,
            disturbances: self.disturber.made,
            samples: self.sampler.samples,
            latencies: self.sampler.latencies,
            queues: self.sampler.queues,
            rest,
            health,
            swarms: ends,
            promises,
        }
    }
}
