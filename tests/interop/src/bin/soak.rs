//! Hours of operation with thousands of simulated minions. Run it as `cargo xtask soak
//! [--hours N | --minutes N] [--minions N] [--masters N] [--seed S] [--no-stock] [--json]
//! [--keep]`; ends with 1 when a promise is broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::ExitCode;

use saltern_interop::soak::{self, Plan};

fn main() -> ExitCode {
    let mut plan = Plan {
        seconds: 3600.0,
        seed: fastrand::u64(..1_000_000),
        minions: 2000,
        masters: 3,
        stock: true,
        keep: false,
    };
    let mut json = false;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().unwrap_or_else(|| panic!("{word} needs a number"));
            text.parse::<f64>().unwrap_or_else(|_| panic!("{word} needs a number, not {text}"))
        };
        match word.as_str() {
            "--hours" => plan.seconds = number() * 3600.0,
            "--minutes" => plan.seconds = number() * 60.0,
            "--minions" => plan.minions = number() as usize,
            "--masters" => plan.masters = number() as usize,
            "--seed" => plan.seed = number() as u64,
            "--no-stock" => plan.stock = false,
            "--json" => json = true,
            "--keep" => plan.keep = true,
            _ => panic!("there is no option {word}"),
        }
    }
    assert!(plan.minions >= 24 && plan.masters >= 2, "at least 24 minions and 2 masters");
    let report = soak::run(&plan, &|line| eprintln!("soak: {line}"));
    match json {
        true => println!("{:#}", report.json()),
        false => println!("{}", report.text()),
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
