//! Salt's data model: what travels on the wire, lies in YAML files and is printed by the tools.
//!
//! This crate knows no sockets, no files and no clock.

pub mod merge;
pub mod msgpack;
pub mod path;
mod value;

pub use value::{Map, Value};
