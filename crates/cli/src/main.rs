//! The one executable: finds out by which name it was called, and is that program.

mod args;
mod commands;
mod daemon;
mod demo;
mod exit;
mod logging;
mod printer;
mod program;
mod service;
mod user;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<_> = env::args_os().collect();
    match program::choose(argv).and_then(program::Chosen::run) {
        Ok(code) => exit::code(code),
        Err(failure) => failure.report(),
    }
}
