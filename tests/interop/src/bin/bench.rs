//! Saltern beside real Salt 3006.24, measured in one run: each figure once for either, in turn,
//! on the same machine, with the ratio. Run it as `cargo xtask bench`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use saltern_interop::bench::{Figure, call, failover, fleet, minion, table};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (names, json): (Vec<_>, Vec<_>) = args.iter().partition(|a| !a.starts_with("--"));
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| *n == name);
    type Bench = fn() -> Vec<Figure>;
    let benches: [(&str, Bench); 4] = [
        ("minion", minion::run),
        ("call", call::run),
        ("fleet", fleet::run),
        ("failover", failover::run),
    ];
    let mut figures = Vec::new();
    for (name, bench) in benches.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("bench {name} ...");
        figures.extend(bench());
    }
    if json.iter().any(|a| *a == "--json") {
        println!("{}", table::json(&figures));
    } else {
        println!("{}", table::text(&figures));
    }
}
