//! The master's file server: finds, lists, hashes and serves what lies under `file_roots`, never
//! anything else, and takes files minions push.

mod error;
mod hash_cache;
mod ignore;
mod locate;
mod push;
mod server;
mod stamp;
#[cfg(test)]
mod testing;
mod walk;

pub use error::FileError;
pub use push::{Push, PushSettings, Receiver};
pub use server::{FileServer, Piece, Settings, Whole};
