//! Ground floor: small things every crate needs and that know nothing of Salt's protocol.

pub mod atomic_file;
pub mod backoff;
pub mod hex;
pub mod host;
pub mod id;
pub mod interfaces;
pub mod jid;
pub mod localtime;
pub mod log;
mod log_file;
mod log_format;
pub mod memory;
pub mod secret;
pub mod time;

pub use id::MinionId;
pub use jid::Jid;
