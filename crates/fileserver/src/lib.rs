//! The master's file server: finds, lists, hashes and serves what lies under `file_roots`, never
//! anything else, and takes files minions push.

mod error;
mod push;
mod server;

pub use error::FileError;
pub use push::{Push, PushSettings, Receiver};
pub use server::{FileServer, Settings};
