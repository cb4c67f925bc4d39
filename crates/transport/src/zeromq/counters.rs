//! What a server counts, and the rule that a reason is logged once and then at most every minute.

/// Why a server closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed it.
    Peer,
    /// Bytes that are no ZMTP 3, or not in this state.
    Garbage,
    /// A frame, message, command or subscription over its limit.
    TooLong,
    /// A socket type that has no business here.
    WrongType,
    /// The handshake was not finished in time.
    HandshakeTimeout,
    /// The peer did not answer a heartbeat.
    Silent,
    /// A message that did not make progress.
    Stalled,
    /// No room: connection limits, or the budget of bytes under way.
    NoRoom,
    /// A read or write failed.
    Io,
    /// The server was closed.
    Shutdown,
}

/// Counts since the socket was bound (a snapshot).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Requests handed on (router) or messages queued to subscribers (publisher).
    pub messages: u64,
    /// Requests of another shape than `["", body]`.
    pub bad_shape: u64,
    /// Replies whose peer was gone (router) or messages a full queue had no room for (publisher).
    pub dropped: u64,
    /// Closed connections by reason, in the order of [`CloseReason`]; zero counts are left out.
    pub closed: Vec<(CloseReason, u64)>,
}
