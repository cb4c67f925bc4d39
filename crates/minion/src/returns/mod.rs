//! What jobs have returned, on its way to a master.

mod queue;
mod send;

pub(crate) use queue::{Item, Queue};
pub(crate) use send::run;
