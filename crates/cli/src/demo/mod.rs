//! `saltern demo`: the main job, live. Two masters that share a signing key, a fleet that trusts
//! only that key, jobs, one master killed in the middle of one, and the fleet goes on.

mod board;
mod fleet;
mod layout;
mod report;
mod story;

use crate::daemon;
use crate::exit::{self, Failure};

/// The main job, live: two masters, a fleet, one master dies, the fleet goes on
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// How many masters
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=20))]
    masters: u16,
    /// How many minions
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=500))]
    minions: u16,
    /// Leave the fleet running, to look around
    #[arg(long)]
    keep: bool,
    /// Print one JSON document at the end and nothing else
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let runtime = daemon::tool_runtime()?;
    let good = runtime.block_on(async {
        let mut signals = daemon::Signals::listen()?;
        tokio::select! {
            done = story::tell(&args) => done,
            name = signals.ended() => Err(Failure::generic(format!("ended by {name}"))),
        }
    })?;
    Ok(if good { exit::OK } else { exit::GENERIC })
}
