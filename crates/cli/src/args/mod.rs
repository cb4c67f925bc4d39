//! Groups of command line options that several programs share, with Salt's names.

mod common;
mod output;
mod target;

pub(crate) use common::{Common, LogFile, Logging, VERSION};
pub(crate) use output::OutputArgs;
pub(crate) use target::TargetArgs;
