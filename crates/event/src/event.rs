//! One event and its packed form: the tag, two newlines, the data as MessagePack.

use std::fmt;
use std::time::SystemTime;

use saltern_value::Map;

/// What stands in the place of a value that made an event too long.
pub const TRIMMED: &str = "VALUE_TRIMMED";

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The tag, for example `salt/auth`.
    pub tag: String,
    /// The data, `_stamp` included.
    pub data: Map,
}

impl Event {
    /// An event fired now: sets `_stamp` (replacing one that is there) as Salt 3006 writes it.
    #[must_use]
    pub fn new(tag: impl Into<String>, data: Map, now: SystemTime) -> Event {
        let _ = now;
        Event { tag: tag.into(), data }
    }
}

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventError {
    /// No two newlines after the tag, or a tag that is not UTF-8.
    NoTag,
    /// The data is no MessagePack mapping.
    BadData,
    /// The frame around it is no `{head, body}` mapping.
    BadFrame,
    /// Longer than allowed.
    TooLong,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EventError::NoTag => "the event has no tag",
            EventError::BadData => "the event's data is no mapping",
            EventError::BadFrame => "the frame is not an event's",
            EventError::TooLong => "the event is too long",
        })
    }
}

impl std::error::Error for EventError {}

/// Packs an event.
#[must_use]
pub fn pack(event: &Event) -> Vec<u8> {
    let _ = event;
    todo!()
}

/// Packs an event in at most `max` bytes of data (`max_event_size`, 1 MiB by default) by replacing
/// its largest values by [`TRIMMED`].
#[must_use]
pub fn pack_trimmed(event: &Event, max: usize) -> Vec<u8> {
    let _ = (event, max);
    todo!()
}

/// Reads a packed event.
///
/// # Errors
/// When the bytes are no event.
pub fn unpack(bytes: &[u8]) -> Result<Event, EventError> {
    let _ = bytes;
    todo!()
}
