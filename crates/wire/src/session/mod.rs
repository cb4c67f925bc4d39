//! Requests of signed-in minions and their answers (wire-protocol §3, §7).

pub mod client;
mod replay;
pub mod server;

pub use replay::{Replay, ReplayGuard};
