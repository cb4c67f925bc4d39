//! The bench on which Saltern and real Salt are put beside each other: programs of either kind,
//! each in a directory and on loopback addresses of its own, driven over real sockets.
//!
//! Nothing here knows how Saltern works inside; everything is what a user could do and see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod address;
pub mod bench;
pub mod chaos;
mod fault;
mod fleet;
mod master;
mod minion;
mod net;
mod peer;
mod process;
mod proxy;
mod skip;
pub mod soak;
mod swarm;
mod tail;
pub mod wait;
mod wire;

pub use address::Address;
pub use fault::Fault;
pub use fleet::Fleet;
pub use master::Master;
pub use minion::Minion;
pub use net::{Host, Net, Quality};
pub use peer::{Install, Peer, saltern};
pub use process::{Output, Program};
pub use proxy::{Proxy, Way};
pub use skip::skipped;
pub use swarm::{Swarm, SwarmPlan};
