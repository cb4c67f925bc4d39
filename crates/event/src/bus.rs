//! The bus: takes events from inside the process and from its pull socket, and hands each to every
//! subscriber, inside and on the publish socket.

use std::io;
use std::sync::Arc;

use saltern_value::Map;

use crate::{BusPaths, Event};

/// Bounds and settings of a [`Bus`].
#[derive(Clone, Debug)]
pub struct BusOptions {
    /// File mode of the publish socket: 0600, or 0660 when users other than the master's may read
    /// events (`publisher_acl`, `external_auth`).
    pub publish_mode: u32,
    /// Bytes of one event's data (`max_event_size`); longer ones have values trimmed.
    pub max_event_size: usize,
    /// Events waiting for one subscriber; then it misses events, which is counted and logged.
    pub queue: usize,
    /// Bytes waiting for one subscriber on the socket.
    pub queue_bytes: usize,
    /// Connections at a time, over both sockets.
    pub max_connections: usize,
}

impl Default for BusOptions {
    fn default() -> Self {
        BusOptions {
            publish_mode: 0o600,
            max_event_size: 1 << 20,
            queue: 10_000,
            queue_bytes: 64 << 20,
            max_connections: 4096,
        }
    }
}

/// The bus of a master or a minion. Clones share it. When the last clone is dropped its tasks end
/// and its socket files are removed.
#[derive(Clone, Debug)]
pub struct Bus {}

impl Bus {
    /// A bus with its two sockets (pull: mode 0600). Socket files left by a dead process are
    /// replaced; the directory must exist. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When a path is too long for a socket (over 107 bytes), a living process holds it, or the
    /// system refuses it.
    pub fn bind(paths: &BusPaths, options: BusOptions) -> io::Result<Bus> {
        let _ = (paths, options);
        todo!()
    }

    /// A bus inside the process only.
    #[must_use]
    pub fn local(options: BusOptions) -> Bus {
        let _ = options;
        todo!()
    }

    /// Fires an event: `_stamp` is set to now. Never blocks.
    pub fn fire(&self, tag: impl Into<String>, data: Map) {
        let _ = (tag.into(), data);
        todo!()
    }

    /// Every event whose tag starts with `prefix`, from now on.
    #[must_use]
    pub fn subscribe(&self, prefix: &str) -> Subscription {
        let _ = prefix;
        todo!()
    }

    /// The events that other processes push into the pull socket, from now on. They are handed to
    /// all subscribers too.
    #[must_use]
    pub fn pushed(&self) -> Subscription {
        todo!()
    }

    /// Events that a full queue had no room for, over all subscribers.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        todo!()
    }
}

/// Events for one subscriber inside the process; dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {}

impl Subscription {
    /// The next event; `None` when the bus is gone. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        todo!()
    }

    /// The next event that is already there.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        todo!()
    }

    /// Events this subscriber missed because its queue was full.
    #[must_use]
    pub fn missed(&self) -> u64 {
        todo!()
    }
}
