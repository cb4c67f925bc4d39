//! Execution modules: what a minion can be asked to do, as ordinary Rust functions in one static
//! table. No sockets and no async here; everything outside of the machine goes through [`Host`].

mod args;
mod bind;
mod call;
mod context;
mod data;
mod error;
mod exec;
mod host;
mod jobs;
mod local;
mod process;
mod registry;
mod shlex;
#[cfg(test)]
mod testing;
mod users;

pub use args::{condition_input, parse_args, yamlify};
pub use bind::{Bound, Signature};
pub use call::{Call, Failure, Outcome};
pub use context::Context;
pub use error::Error;
pub use host::{EventStream, Host, HostError, Refresh};
pub use jobs::{Job, JobTable, RunningJob, RunsAlready, Signalled};
pub use registry::{Function, Module, Registry};
pub use shlex::split as split_words;
