//! The minion: keeps a connection to its masters (the decisions are `saltern-failover`'s), runs
//! the jobs they publish, and sees to it that every return arrives. Also the core of `salt-call`.
//!
//! Everything runs in the caller's tokio runtime, which may have a single thread; jobs run on
//! threads of their own. Nothing here prints or ends the process.

mod access;
mod address;
mod bus;
mod caller;
mod connect;
mod core;
mod facts;
mod host;
mod jobs;
mod keys;
mod link;
mod mine;
mod minion;
mod periodic;
mod persist;
mod returns;
mod schedule;
mod settings;
mod startup;
pub mod verdict;
mod view;

pub use caller::{CallError, Caller};
pub use minion::{Minion, MinionHandle};
pub use settings::StartError;
