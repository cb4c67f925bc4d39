//! `cargo xtask simulate`: many histories of a fleet in simulated time, each grown from a seed.
//! Prints what was found and how to see a failed one again.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use saltern_simulate::{History, Plan, Stats, simulate};

use crate::run::Done;

/// What the command line asks for.
struct Wish {
    first: u64,
    count: u64,
    plan: Plan,
}

/// What is shared between the threads.
struct Shared {
    next: AtomicU64,
    failed: AtomicU64,
    total: Mutex<(u64, Stats)>,
}

/// Failed histories told in full; the others only by their seed.
const TOLD: u64 = 3;

/// Runs the histories that the arguments ask for.
pub fn run(args: &[String]) -> Done {
    let wish = read(args)?;
    let end = wish.first.saturating_add(wish.count);
    let shared = Shared {
        next: AtomicU64::new(wish.first),
        failed: AtomicU64::new(0),
        total: Mutex::new((0, Stats::default())),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&shared, end, &wish));
        }
    });
    let (done, stats) = shared.total.into_inner().unwrap_or_else(|e| e.into_inner());
    println!("histories      {done}, seeds {} to {}\n{stats}", wish.first, end.saturating_sub(1));
    match shared.failed.into_inner() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {done} histories broke a promise; see above")),
    }
}

fn work(shared: &Shared, end: u64, wish: &Wish) {
    loop {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let history = simulate(seed, &wish.plan);
        let mut total = shared.total.lock().unwrap_or_else(|e| e.into_inner());
        total.0 += 1;
        total.1.add(&history.stats);
        if history.violation.is_some() {
            let told = shared.failed.fetch_add(1, Ordering::Relaxed) < TOLD;
            tell(&history, told && !wish.plan.trace, wish.plan.minutes);
        }
        if wish.plan.trace {
            for line in &history.trace {
                println!("{line}");
            }
            println!("hash {:016x}", history.hash);
        }
        if total.0.is_multiple_of(100) {
            eprint!("\r{} of {} histories ", total.0, wish.count);
            drop(std::io::stderr().flush());
            if total.0 == wish.count {
                eprintln!();
            }
        }
    }
}

fn tell(history: &History, in_full: bool, minutes: f64) {
    let Some(violation) = &history.violation else { return };
    let at = violation.at.as_secs_f64();
    println!("seed {} at {at:.3} s: {}: {}", history.seed, violation.invariant, violation.detail);
    if in_full {
        for line in &history.trace {
            println!("    {line}");
        }
    }
    println!("  again: cargo xtask simulate --seed {} --minutes {minutes} --trace", history.seed);
}

fn read(args: &[String]) -> Result<Wish, String> {
    let (mut first, mut count, mut plan) = (None, None, Plan::default());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || -> Result<f64, String> {
            let text = args.next().ok_or(format!("{arg} needs a number"))?;
            let number = text.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
            number.ok_or(format!("{arg} needs a number, not {text}"))
        };
        match arg.as_str() {
            "--seeds" => count = Some(number()? as u64),
            "--seed" => first = Some(number()? as u64),
            "--minutes" => plan.minutes = number()?.clamp(2.0, 100_000.0),
            "--trace" => plan.trace = true,
            other => {
                return Err(format!(
                    "simulate knows --seeds N, --seed S, --minutes M and --trace, not {other}"
                ));
            }
        }
    }
    // One seed by name is one history, unless more are asked for from there on.
    let count = count.unwrap_or(if first.is_some() { 1 } else { 1000 });
    Ok(Wish { first: first.unwrap_or(1), count, plan })
}
