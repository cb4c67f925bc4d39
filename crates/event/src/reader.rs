//! From a byte stream to events: what both kinds of client share.

use std::io;

use crate::{Event, FrameReader, event};

/// Bytes of one event a bus may send us.
const EVENT_MAX: usize = 128 << 20;

/// The events in a byte stream.
#[derive(Debug)]
pub(crate) struct Events {
    frames: FrameReader,
}

impl Events {
    pub(crate) fn new() -> Events {
        Events { frames: FrameReader::new(EVENT_MAX) }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// The next whole event whose tag starts with `prefix`; the others are not even unpacked.
    pub(crate) fn next(&mut self, prefix: &str) -> io::Result<Option<Event>> {
        let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        while let Some(packed) = self.frames.next_body().map_err(broken)? {
            if !packed.starts_with(prefix.as_bytes()) {
                continue;
            }
            match event::unpack(&packed) {
                // The prefix may have reached into the newlines behind a shorter tag.
                Ok(event) if event.tag.starts_with(prefix) => return Ok(Some(event)),
                Ok(_) => {}
                Err(error) => log::debug!("an event on the bus cannot be read: {error}"),
            }
        }
        Ok(None)
    }
}
