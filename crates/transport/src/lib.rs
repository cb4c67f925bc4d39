//! Sockets: Salt's ZeroMQ transport on tokio, both ends, over the pure protocol of `saltern-zmtp`.
//!
//! Everything here needs a tokio runtime with I/O and time enabled. Name look-ups run on tokio's
//! blocking threads; a program that must end quickly shuts its runtime down in the background.

pub mod net;
pub mod zeromq;

pub use net::{ConnectError, ConnectOptions, IpFamily, Keepalive, ListenOptions};
