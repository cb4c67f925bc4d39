//! ZMTP 3.1 with the NULL mechanism (ZeroMQ RFC 37), as far as Salt uses it: bytes in, events and
//! bytes out. No sockets, no clock, no threads.
//!
//! Peers of version 3.0 are served too. Nothing is reserved on the word of a peer: a length it
//! announces is only ever a bound, memory follows the bytes that arrived.

mod command;
mod connection;
mod error;
mod frame;
mod greeting;
mod limits;
mod subscriptions;

pub use command::{PING_CONTEXT_MAX, encode_ping};
pub use connection::{Config, Connection, Event, Peer, SocketType};
pub use error::Error;
pub use frame::{HEAD_MAX, encode_message, frame_head};
pub use greeting::GREETING_LEN;
pub use limits::Limits;
pub use subscriptions::{Subscriptions, TooMany};
