//! The connection to masters: the failover machine's hands and ears.

mod attempt;
mod reader;
mod shell;

pub(crate) use reader::Entry;
pub(crate) use shell::{Command, run};
