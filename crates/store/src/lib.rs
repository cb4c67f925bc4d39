//! What a master keeps on disk: its keys and the keys of its minions, session keys, the job cache
//! and the minion data cache. Every function here blocks and may be called from any thread.

pub mod cache;
mod db;
pub mod dropfile;
mod error;
mod fs_util;
pub mod holdings;
pub mod jobs;
pub mod pki;
pub mod reports;
pub mod requests;
pub mod root_key;
pub mod sessions;
mod stamp;
#[cfg(test)]
mod testing;

pub use error::StoreError;
