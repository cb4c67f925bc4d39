//! Saltern beside real Salt, measured alternately in one session on one machine. Run it as
//! `cargo xtask bench [NAME ...]`; `--help` says more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::ExitCode;

use saltern_interop::bench::plan::{Plan, USAGE};
use saltern_interop::bench::{failover, help, reader, run, table};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // A part of one bench is a process of its own.
    if let Some(("floor-reader", rest)) = words.split_first().map(|(w, rest)| (w.as_str(), rest)) {
        reader(rest);
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}{}", help());
        return ExitCode::SUCCESS;
    }
    let plan = match Plan::read(words.into_iter()) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("bench: {error}\n\n{USAGE}{}", help());
            return ExitCode::from(64);
        }
    };
    let rows = run::all(&plan);
    let failover = plan.wants("failover").then(|| plan.failover());
    let lonely = failover.as_ref().and_then(failover::run);
    // Networks cannot be made everywhere; the bench has said so.
    let missing = failover.is_some() && lonely.is_none();
    let lonely = lonely.zip(failover);
    if plan.json {
        let mut all = table::json(&rows, &plan);
        if let Some((rows, plan)) = &lonely {
            all["failover"] = failover::json(rows, plan);
        }
        println!("{all:#}");
    } else {
        if !rows.is_empty() {
            println!("{}", table::text(&rows, &plan));
        }
        if let Some((rows, plan)) = &lonely {
            println!("{}", failover::text(rows, plan));
        }
    }
    if missing { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
