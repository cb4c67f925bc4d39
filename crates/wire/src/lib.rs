//! Salt's protocol, version 3, as pure functions and state machines: no sockets, no files, no
//! clock. Whoever calls brings bytes, keys and the time, and gets values, bytes and reasons.
//!
//! A request reaches a handler only as [`Verified`], which nothing outside of this crate makes.

pub mod auth;
pub mod command;
pub mod envelope;
pub mod limits;
pub mod publish;
mod refused;
pub mod reply;
pub mod session;
pub mod topic;
mod verified;

pub use refused::{Reason, Refused};
pub use verified::Verified;
