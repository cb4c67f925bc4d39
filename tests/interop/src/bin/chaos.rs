//! Random faults in a fleet under constant jobs. Run it as `cargo xtask chaos --minutes N
//! [--seed S] [--minions N] [--json]`; ends with 1 when something was lost or ran twice, with 2
//! where networks cannot be made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::Path;
use std::process::ExitCode;

use saltern_interop::chaos::{self, Plan};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, file, jid] = args.as_slice()
        && flag == "--mark"
    {
        chaos::mark(Path::new(file), jid);
        return ExitCode::SUCCESS;
    }
    let value = |name: &str| {
        let place = args.iter().position(|a| a == name)?;
        let text = args.get(place + 1).unwrap_or_else(|| panic!("{name} needs a number"));
        Some(text.parse::<f64>().unwrap_or_else(|_| panic!("{name} needs a number, not {text}")))
    };
    let plan = Plan {
        minutes: value("--minutes").unwrap_or(1.0),
        seed: value("--seed").map_or_else(|| fastrand::u64(..1_000_000), |seed| seed as u64),
        minions: value("--minions").map_or(30, |count| count as usize),
        program: std::env::current_exe().unwrap(),
    };
    eprintln!("chaos: {} minutes, seed {}, {} minions", plan.minutes, plan.seed, plan.minions);
    let Some(report) = chaos::run(&plan) else { return ExitCode::from(2) };
    match args.iter().any(|a| a == "--json") {
        true => println!("{:#}", report.json()),
        false => println!("{}", report.text()),
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
