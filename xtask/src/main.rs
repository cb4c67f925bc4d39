//! `cargo xtask`: what this repository needs beyond plain cargo.

mod bench;
mod check;
mod deb;
mod dist;
mod interop;
mod layers;
mod packages;
mod run;
mod simulate;
mod soak;
mod test;
mod venvs;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [FILTER]   everything a change must pass; with FILTER only the interop tests it names
  check           rustfmt, clippy, layers and cargo-deny only
  venvs           the environments with real Salt that the interop tests and benchmarks use
  layers          whether dependencies between crates run one way
  dist            a static release build for musl, in target/dist
  deb [--host] [--try]
                  the Debian package, of the static build or (--host) the release build; --try
                  installs and runs it in a fresh Debian (root, debootstrap)
  simulate [--seeds N] [--seed S] [--minutes M] [--trace]
                  histories of a fleet in simulated time, with faults by chance; a seed that
                  breaks a promise is printed and can be run again, step by step
  chaos --minutes N [--seed S] [--minions N] [--json]
                  random faults in a fleet under constant jobs, in network namespaces (root); what
                  was lost, run twice or long alone
  soak [--hours N | --minutes N] [--minions N] [--masters N] [--seed S] [--no-stock] [--json]
       [--keep]   masters and a swarm of minions (2000) under jobs of every size, churn, key
                  rotation and restarts; whether all that was promised was kept
  bench [NAME] [--quick] [--against PREFIX] [--salt 3006|3008|both|none] [--json]
                  Saltern beside real Salt, measured alternately; --help says what there is
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let done = match args.first().map(String::as_str) {
        Some("test") => test::run(rest),
        Some("check") => check::all(),
        Some("venvs") => venvs::make(),
        Some("layers") => layers::check(),
        Some("dist") => dist::build(),
        Some("deb") => deb::run(rest),
        Some("simulate") => simulate::run(rest),
        Some("chaos") => run::chaos(rest),
        Some("soak") => soak::run(rest),
        Some("bench") => bench::bench(rest),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
