//! `cargo xtask soak`: hours of operation with thousands of minions; and the short form that is
//! one of the tests.

use crate::run::{Done, interop_program};
use crate::{test, venvs};

/// The short form: so few minions and so little time that two slow cores are enough.
const SHORT: [&str; 7] = ["--minutes", "1.3", "--minions", "200", "--masters", "2", "--no-stock"];

/// Runs it with the options of the program `soak`.
pub fn run(args: &[String]) -> Done {
    if !args.iter().any(|arg| arg == "--no-stock") {
        venvs::make()?;
    }
    test::build_program()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    interop_program("soak", &args)
}

/// The short form, tried once more when it fails, like any test on a machine that others use.
/// Says so when only the second try was good.
pub fn short() -> Result<Option<String>, String> {
    let Err(error) = interop_program("soak", &SHORT) else { return Ok(None) };
    eprintln!("xtask: {error}; it is run once more");
    interop_program("soak", &SHORT).map(|()| Some("soak".to_owned()))
}
