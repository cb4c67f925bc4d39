//! The request client of a minion or a tool (REQ), with a bounded pool of connections.

use std::fmt;
use std::time::Duration;

use crate::net::{ConnectError, ConnectOptions};

/// Bounds and settings of a [`Requester`].
#[derive(Clone, Debug)]
pub struct RequesterOptions {
    /// How connections are made.
    pub connect: ConnectOptions,
    /// Connections at a time; further requests wait for one. A fixed source port allows one only.
    pub max_connections: usize,
    /// An unused connection is closed after this time.
    pub idle_timeout: Duration,
    /// Bytes of one reply.
    pub max_message: usize,
}

impl Default for RequesterOptions {
    fn default() -> Self {
        RequesterOptions {
            connect: ConnectOptions::default(),
            max_connections: 8,
            idle_timeout: Duration::from_secs(60),
            max_message: 100 << 20,
        }
    }
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The name does not resolve.
    Resolve(String),
    /// Nothing listens there.
    Refused,
    /// The address cannot be reached (no route, wrong source address, ...).
    Unreachable(String),
    /// No reply in time. It is unknown whether the request was handled.
    Timeout,
    /// The peer closed the connection. It is unknown whether the request was handled.
    Closed,
    /// The peer does not speak the protocol, or its reply is too long.
    Protocol(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Resolve(why) => write!(f, "the name does not resolve: {why}"),
            RequestError::Refused => f.write_str("the connection is refused"),
            RequestError::Unreachable(why) => write!(f, "the address is out of reach: {why}"),
            RequestError::Timeout => f.write_str("there is no reply in time"),
            RequestError::Closed => f.write_str("the connection was closed before the reply"),
            RequestError::Protocol(why) => write!(f, "the peer breaks the protocol: {why}"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<ConnectError> for RequestError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolve(why) => RequestError::Resolve(why),
            ConnectError::Refused => RequestError::Refused,
            ConnectError::Timeout => RequestError::Timeout,
            ConnectError::Unreachable(why) => RequestError::Unreachable(why),
        }
    }
}

/// The client of one address. Clones share the pool; connections are made when needed.
#[derive(Clone, Debug)]
pub struct Requester {}

impl Requester {
    /// A client of `address` (`host:port` or `[v6]:port`). Connects to nothing yet; the name is
    /// resolved anew for each connection.
    #[must_use]
    pub fn new(address: impl Into<String>, options: RequesterOptions) -> Requester {
        let _ = (address.into(), options);
        todo!()
    }

    /// The address it was made for.
    #[must_use]
    pub fn address(&self) -> &str {
        todo!()
    }

    /// Sends `body` and waits for the reply; `timeout` covers waiting for a free connection,
    /// connecting, the handshake and the reply. Cancellation-safe: a dropped call closes its
    /// connection.
    ///
    /// # Errors
    /// A [`RequestError`]; nothing is sent twice.
    pub async fn request(&self, body: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, RequestError> {
        let _ = (body, timeout);
        todo!()
    }

    /// Makes sure that a connection can be made, handshake included, and keeps it for the next
    /// request.
    ///
    /// # Errors
    /// As [`Requester::request`].
    pub async fn check(&self, timeout: Duration) -> Result<(), RequestError> {
        let _ = timeout;
        todo!()
    }

    /// Closes every unused connection now.
    pub fn close_idle(&self) {
        todo!()
    }
}
