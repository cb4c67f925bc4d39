//! The request server of a master (ROUTER, port 4506).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Counters;
use crate::net::ListenOptions;

/// Bounds and settings of a [`Router`].
#[derive(Clone, Debug)]
pub struct RouterOptions {
    /// The listening socket.
    pub listen: ListenOptions,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections at a time from one address; 0 sets no bound.
    pub max_per_address: usize,
    /// Time for the ZMTP handshake.
    pub handshake_timeout: Duration,
    /// Bytes of one request. Returns of big jobs must fit.
    pub max_message: usize,
    /// Bytes of requests under way (being received or not yet answered), over all connections.
    pub budget: usize,
    /// Requests of one connection not yet answered; its further ones wait in its socket.
    pub max_in_flight: usize,
    /// Requests received and not yet taken by [`Router::recv`].
    pub queue: usize,
    /// A request under way must bring 64 kB, or end, in every span of this length.
    pub stall_timeout: Duration,
}

impl Default for RouterOptions {
    fn default() -> Self {
        RouterOptions {
            listen: ListenOptions::default(),
            max_connections: 100_000,
            max_per_address: 0,
            handshake_timeout: Duration::from_secs(10),
            max_message: 100 << 20,
            budget: 512 << 20,
            max_in_flight: 32,
            queue: 1024,
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// One request and the way to answer it.
#[derive(Debug)]
pub struct Request {
    /// Who asked.
    pub peer: SocketAddr,
    /// The body frame.
    pub body: Vec<u8>,
    /// Answers it. Dropped unused, the peer gets no answer.
    pub reply: Reply,
}

/// Answers one request, on the connection it came from.
#[derive(Debug)]
pub struct Reply {}

impl Reply {
    /// Sends the answer. Never blocks; if the peer is gone the answer is dropped and counted.
    pub fn send(self, body: Vec<u8>) {
        let _ = body;
        todo!()
    }
}

/// The server. Dropping it closes the socket and every connection at once.
#[derive(Debug)]
pub struct Router {}

impl Router {
    /// Listens on `address` and starts to accept. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr, options: RouterOptions) -> io::Result<Router> {
        let _ = (address, options);
        todo!()
    }

    /// Where it listens (the real port when 0 was asked for).
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }

    /// The next request; `None` after [`Router::close`]. May be called by several tasks.
    /// Cancellation-safe.
    pub async fn recv(&self) -> Option<Request> {
        todo!()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// Stops accepting and reading, waits up to `grace` for the answers to requests already taken,
    /// then closes every connection.
    pub async fn close(&self, grace: Duration) {
        let _ = grace;
        todo!()
    }
}
