//! One file a program: its arguments and what it does.

pub(crate) mod config;
mod docs;
mod fleet;
mod health;
mod key_text;
pub(crate) mod links;
pub(crate) mod master;
pub(crate) mod minion;
pub(crate) mod salt;
pub(crate) mod salt_call;
pub(crate) mod salt_cp;
mod salt_job;
pub(crate) mod salt_key;
mod salt_key_rotate;
pub(crate) mod salt_run;
mod summary;
pub(crate) mod swarm;
mod watch;
