//! Jobs: which publications are for this minion, running them, and what they return.

mod accept;
mod reply;
mod run;
mod taken;

pub(crate) use accept::accept;
pub(crate) use run::{fault, lost, run};
pub(crate) use taken::Taken;
