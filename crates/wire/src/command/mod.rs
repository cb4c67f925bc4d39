//! What peers can ask for, as types: one variant per command, wrong types are errors.

mod clear;
mod fields;
mod minion;
mod parse;
mod root_key;

pub use clear::{ClearCommand, Credentials, Publish, Runner, Unverified, Wheel};
pub use fields::FieldError;
pub use minion::{
    Event, FileList, FilePath, FileRecv, Mine, MineFun, MineGet, MinionCommand, MinionEvent,
    MinionPub, MinionRunner, NOTICE, Pillar, Return, ReturnJid, ServeFile,
};
pub use root_key::{AuthFailed, RootKeys};
