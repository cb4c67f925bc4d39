//! Jobs: which publications are for this minion, running them, and what they return.

mod accept;
mod reply;
mod run;

pub(crate) use accept::{SeenJids, accept};
pub(crate) use run::fault;
