//! Salt's data model: what travels on the wire, lies in YAML files and is printed by the tools.
//!
//! This crate knows no sockets, no files and no clock.

pub mod json;
pub mod merge;
pub mod msgpack;
pub mod path;
pub mod pyrepr;
mod value;
pub mod yaml;

pub use value::{Map, Value};
