//! The publish server of a master (PUB, port 4505).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Counters, Heartbeat};
use crate::net::ListenOptions;

/// Bounds and settings of a [`Publisher`].
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// The listening socket.
    pub listen: ListenOptions,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections at a time from one address; 0 sets no bound.
    pub max_per_address: usize,
    /// Time for the ZMTP handshake.
    pub handshake_timeout: Duration,
    /// Messages waiting for one subscriber (`pub_hwm`).
    pub hwm: usize,
    /// Bytes waiting for one subscriber.
    pub hwm_bytes: usize,
    /// Subscriptions of one subscriber.
    pub max_subscriptions: usize,
    /// Finds peers that are gone without a word (`zmq_heartbeat_ivl`, `zmq_heartbeat_timeout`);
    /// `None` sends no heartbeats.
    pub heartbeat: Option<Heartbeat>,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        PublisherOptions {
            listen: ListenOptions::default(),
            max_connections: 100_000,
            max_per_address: 0,
            handshake_timeout: Duration::from_secs(10),
            hwm: 1000,
            hwm_bytes: 64 << 20,
            max_subscriptions: 1024,
            heartbeat: Some(Heartbeat {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(30),
            }),
        }
    }
}

/// What became of one published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishReport {
    /// Subscribers it was queued for.
    pub delivered: usize,
    /// Subscribers that wanted it and whose queue was full.
    pub dropped: usize,
}

/// A connected subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberInfo {
    /// Where it connects from.
    pub peer: SocketAddr,
    /// The identity it gave itself; empty for most peers, and never proof of anything.
    pub identity: Vec<u8>,
    /// Messages its full queue had no room for.
    pub dropped: u64,
}

/// The server. Dropping it closes the socket and every connection at once.
#[derive(Debug)]
pub struct Publisher {}

impl Publisher {
    /// Listens on `address` and starts to accept. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr, options: PublisherOptions) -> io::Result<Publisher> {
        let _ = (address, options);
        todo!()
    }

    /// Where it listens (the real port when 0 was asked for).
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }

    /// Queues a message for every subscriber that wants it: `[topic, payload]`, or `[payload]`
    /// without a topic. Never blocks. The payload is shared, not copied.
    pub fn publish(&self, topic: Option<&str>, payload: impl Into<Arc<[u8]>>) -> PublishReport {
        let _ = (topic, payload.into());
        todo!()
    }

    /// Peers with at least one subscription.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        todo!()
    }

    /// The connected subscribers.
    #[must_use]
    pub fn peers(&self) -> Vec<SubscriberInfo> {
        todo!()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// Stops accepting, waits up to `grace` for queued messages to leave, then closes every
    /// connection.
    pub async fn close(&self, grace: Duration) {
        let _ = grace;
        todo!()
    }
}
