//! Salt's event bus: events and their tags, the framing on the local sockets of both Salt
//! generations, the bus itself and its clients.

pub mod blocking;
mod bus;
pub mod client;
mod event;
mod frame;
mod paths;
mod reader;
mod server;
pub mod tags;

pub use bus::{Bus, BusOptions, Subscription};
pub use event::{Event, EventError, TRIMMED, pack, pack_trimmed, unpack};
pub use frame::{FrameReader, Framing, frame};
pub use paths::BusPaths;
