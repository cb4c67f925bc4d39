//! Saltern beside real Salt, measured in one run on the same machine. Run it as
//! `cargo xtask bench [NAME ...] [--json]`; the bench `failover` further takes `--trials N`,
//! `--salt-trials N`, `--limit SECONDS`, `--down SECONDS`, `--row TEXT` and `--alone` (no real
//! Salt).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use saltern_interop::bench::{Figure, call, failover, fleet, minion, table};

fn main() {
    let mut words = std::env::args().skip(1);
    let (mut names, mut json) = (Vec::new(), false);
    let mut plan = failover::Plan {
        trials: 20,
        salt_trials: 5,
        limit: 60.0,
        down: 60,
        row: String::new(),
        alone: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--json" => json = true,
            "--alone" => plan.alone = true,
            "--trials" => plan.trials = value().parse().unwrap(),
            "--salt-trials" => plan.salt_trials = value().parse().unwrap(),
            "--limit" => plan.limit = value().parse().unwrap(),
            "--down" => plan.down = value().parse().unwrap(),
            "--row" => plan.row = value(),
            _ if word.starts_with("--") => panic!("there is no option {word}"),
            _ => names.push(word),
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| *n == name);
    type Bench = fn() -> Vec<Figure>;
    let benches: [(&str, Bench); 3] =
        [("minion", minion::run), ("call", call::run), ("fleet", fleet::run)];
    let mut figures = Vec::new();
    for (name, bench) in benches.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("bench {name} ...");
        figures.extend(bench());
    }
    if !figures.is_empty() {
        println!("{}", if json { table::json(&figures) } else { table::text(&figures) });
    }
    if !wanted("failover") {
        return;
    }
    let Some(rows) = failover::run(&plan) else { std::process::exit(2) };
    match json {
        true => println!("{:#}", failover::json(&rows, &plan)),
        false => println!("{}", failover::text(&rows, &plan)),
    }
}
