//! Bounds on what one peer may send.

/// Bounds on what one peer may send. Beyond them the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, all its frames together.
    pub message: usize,
    /// Frames of one message.
    pub parts: usize,
    /// Bytes of one command (READY with its metadata, PING, SUBSCRIBE, ...).
    pub command: usize,
}

impl Limits {
    /// For a socket whose messages may have `message` bytes.
    #[must_use]
    pub const fn messages_of(message: usize) -> Limits {
        Limits { message, parts: 16, command: 4096 }
    }
}
