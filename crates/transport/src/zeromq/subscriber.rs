//! The subscribe client of a minion (SUB): one connection, watched by heartbeats.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::ConnectOptions;

/// When to ask a silent peer for a sign of life, and when to give it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Silence after which a ZMTP PING is sent.
    pub interval: Duration,
    /// Time after a PING in which anything must arrive.
    pub timeout: Duration,
}

/// Bounds and settings of a [`Subscriber`].
#[derive(Clone, Debug)]
pub struct SubscriberOptions {
    /// How the connection is made.
    pub connect: ConnectOptions,
    /// Time for resolving, connecting and the handshake together.
    pub timeout: Duration,
    /// The identity given to the peer (the minion id), at most 255 bytes; empty for none.
    pub identity: Vec<u8>,
    /// Watches the connection; `None` leaves it to TCP.
    pub heartbeat: Option<Heartbeat>,
    /// Bytes of one message.
    pub max_message: usize,
    /// Messages received and not yet taken; then the socket is not read any more.
    pub queue: usize,
}

impl Default for SubscriberOptions {
    fn default() -> Self {
        SubscriberOptions {
            connect: ConnectOptions::default(),
            timeout: Duration::from_secs(5),
            identity: Vec::new(),
            heartbeat: Some(Heartbeat {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(10),
            }),
            max_message: 100 << 20,
            queue: 1000,
        }
    }
}

/// Why there is no subscription (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The name does not resolve.
    Resolve(String),
    /// Nothing listens there.
    Refused,
    /// The address cannot be reached.
    Unreachable(String),
    /// Connecting or the handshake took too long.
    Timeout,
    /// The peer closed the connection, or it broke.
    Closed,
    /// The peer did not answer a heartbeat in time.
    Silent,
    /// The peer does not speak the protocol, or sent too long a message.
    Protocol(String),
}

/// The subscription is lost; the [`Subscriber`] is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Why.
    pub reason: LostReason,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            LostReason::Resolve(why) => write!(f, "the name does not resolve: {why}"),
            LostReason::Refused => f.write_str("the connection is refused"),
            LostReason::Unreachable(why) => write!(f, "the address is out of reach: {why}"),
            LostReason::Timeout => f.write_str("the connection could not be made in time"),
            LostReason::Closed => f.write_str("the connection was closed"),
            LostReason::Silent => f.write_str("the peer does not answer heartbeats"),
            LostReason::Protocol(why) => write!(f, "the peer breaks the protocol: {why}"),
        }
    }
}

impl std::error::Error for Lost {}

/// One subscription. A task of its own reads the socket and answers heartbeats, also while
/// nobody waits in [`Subscriber::next`]; dropping the subscriber ends it.
#[derive(Debug)]
pub struct Subscriber {}

impl Subscriber {
    /// Connects to `address` (`host:port` or `[v6]:port`), shakes hands and subscribes to every
    /// topic prefix in `topics` (an empty one takes everything).
    ///
    /// # Errors
    /// Why it could not be done within `options.timeout`.
    pub async fn connect(
        address: &str,
        options: SubscriberOptions,
        topics: &[&[u8]],
    ) -> Result<Subscriber, Lost> {
        let _ = (address, options, topics);
        todo!()
    }

    /// The next message, as frames. Messages that arrived before a loss come first. After the
    /// loss every call returns it again. Cancellation-safe.
    ///
    /// # Errors
    /// Why the connection is lost, at once.
    pub async fn next(&mut self) -> Result<Vec<Vec<u8>>, Lost> {
        todo!()
    }

    /// The address connected to.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        todo!()
    }

    /// Time from the last PING to its PONG; `None` before the first.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        todo!()
    }
}
