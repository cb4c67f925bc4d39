//! Histories of a simulated fleet: a fixed set of seeds must keep every promise, equal seeds must
//! give equal histories, and a broken world must be found out.

use std::time::Duration;

use saltern_simulate::{History, Plan, Roads, Sabotage, simulate};

/// Histories of ten minutes each.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=300;

fn story(history: &History) -> String {
    let violation = history
        .violation
        .as_ref()
        .map_or(String::new(), |v| format!("{} at {:?}: {}", v.invariant, v.at, v.detail));
    format!("seed {}: {violation}\n{}", history.seed, history.trace.join("\n"))
}

fn violated(plan: &Plan, invariant: &str) -> bool {
    (1..=40).any(|seed| {
        let history = simulate(seed, plan);
        history.violation.is_some_and(|v| v.invariant == invariant)
    })
}

#[test]
fn a_fixed_set_of_seeds_keeps_every_promise() {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let plan = Plan::default();
    std::thread::scope(|scope| {
        for first in 0..threads {
            let seeds = SEEDS.skip(first).step_by(threads);
            scope.spawn(move || {
                for seed in seeds {
                    let history = simulate(seed, &plan);
                    assert!(history.violation.is_none(), "{}", story(&history));
                    assert!(history.stats.runs > 0, "nothing happened with seed {seed}");
                }
            });
        }
    });
}

#[test]
fn a_seed_gives_the_same_history_twice() {
    for seed in [3, 77] {
        let plan = Plan { trace: true, ..Plan::default() };
        let (first, second) = (simulate(seed, &plan), simulate(seed, &plan));
        assert_eq!(first.hash, second.hash);
        assert_eq!(first.trace, second.trace);
        assert!(first.trace.len() > 1000);
    }
    let plan = Plan::default();
    assert_ne!(simulate(3, &plan).hash, simulate(4, &plan).hash);
}

#[test]
fn an_hour_of_loss_and_delay_causes_no_switch() {
    let roads = Roads { delay: Duration::from_millis(300), loss: 0.05 };
    let plan = Plan {
        minutes: 60.0,
        faults: false,
        masters: Some(3),
        minions: Some(10),
        defaults: true,
        roads: Some(roads),
        ..Plan::default()
    };
    for seed in 1..=3 {
        let history = simulate(seed, &plan);
        assert!(history.violation.is_none(), "{}", story(&history));
        assert_eq!(history.stats.switches, 0, "{}", story(&history));
        assert_eq!(history.stats.simulated, Duration::from_secs(3600));
    }
}

#[test]
fn a_lost_acknowledgement_and_a_master_that_stores_twice_are_found_out() {
    let lost_only = Sabotage { swallow_acknowledgements: true, ..Sabotage::default() };
    let both = Sabotage { store_twice: true, ..lost_only };
    let plan = Plan { faults: false, minutes: 4.0, ..Plan::default() };
    // Masters that know what they have stored cope with it.
    let coped = simulate(1, &Plan { sabotage: lost_only, ..plan });
    assert!(coped.violation.is_none() && coped.stats.repeated > 0, "{}", story(&coped));
    let history = simulate(1, &Plan { sabotage: both, ..plan });
    let violation = history.violation.as_ref().expect("it stores a return twice");
    assert_eq!(violation.invariant, "each return is stored once");
    assert!(history.trace.last().is_some_and(|line| line.contains("VIOLATION")));
}

#[test]
fn a_minion_that_runs_jobs_twice_is_found_out() {
    let sabotage = Sabotage { run_twice: true, ..Sabotage::default() };
    assert!(violated(&Plan { sabotage, ..Plan::default() }, "no job runs twice"));
}

#[test]
fn a_minion_that_forgets_returns_is_found_out() {
    let sabotage = Sabotage { forget_spool: true, ..Sabotage::default() };
    assert!(violated(&Plan { sabotage, ..Plan::default() }, "no return is lost"));
}
