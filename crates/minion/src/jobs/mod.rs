//! Jobs: which publications are for this minion, running them, and what they return.

mod accept;
mod reply;
mod run;
mod taken;

pub(crate) use accept::{SeenJids, accept};
pub(crate) use run::{fault, run};
pub(crate) use taken::Taken;
