//! The operator's side: publish a job and collect what comes back, call runners and wheel
//! functions. Speaks to a running master only through what it offers to every local tool: its
//! request port, the root key and the event bus.

mod batch;
mod collect;
mod connection;
mod error;
mod local;
mod remote;

pub use batch::{BatchSize, run_batch};
pub use collect::{Collector, Step};
pub use connection::Connection;
pub use error::ClientError;
pub use local::{Answer, JobRequest, LocalClient, Published, Running};
pub use remote::{RemoteCall, RemoteResult};
