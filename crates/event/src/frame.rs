//! Frames on the bus sockets: `{"head": {}, "body": <event>}` in MessagePack, bare or behind a
//! four-byte big-endian length.

use crate::EventError;

/// How a frame is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Back to back: what subscribers get, and what Salt 3006 pushes.
    Bare,
    /// Behind a four-byte big-endian length: what Salt 3008 pushes.
    Length,
}

/// Frames a packed event.
#[must_use]
pub fn frame(packed: &[u8], framing: Framing) -> Vec<u8> {
    let _ = (packed, framing);
    todo!()
}

/// Takes a byte stream of frames of either form apart, deciding the form frame by frame.
#[derive(Debug)]
pub struct FrameReader {}

impl FrameReader {
    /// A reader that refuses frames over `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> FrameReader {
        let _ = max;
        todo!()
    }

    /// Adds bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let _ = bytes;
        todo!()
    }

    /// The next whole frame's body (a packed event), or `None` until more bytes are there.
    ///
    /// # Errors
    /// The stream is broken and cannot be read on.
    pub fn next_body(&mut self) -> Result<Option<Vec<u8>>, EventError> {
        todo!()
    }
}
