//! Plain TCP: listening, resolving, connecting with deadlines, keepalive.

mod connect;
mod listen;

pub use connect::{ConnectError, ConnectOptions, IpFamily, connect};
pub use listen::{ListenOptions, listen};

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// TCP keepalive as Salt's `tcp_keepalive*` options set it. `None` leaves the system's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// `tcp_keepalive`: off means no probes at all.
    pub enabled: bool,
    /// `tcp_keepalive_idle`: silence before the first probe.
    pub idle: Option<Duration>,
    /// `tcp_keepalive_intvl`: time between probes.
    pub interval: Option<Duration>,
    /// `tcp_keepalive_cnt`: unanswered probes before the connection is given up.
    pub count: Option<u32>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Keepalive {
            enabled: true,
            idle: Some(Duration::from_secs(300)),
            interval: None,
            count: None,
        }
    }
}

impl Keepalive {
    /// Sets it on a connection, and sends small messages at once (no Nagle). A system that refuses
    /// a value keeps its own: the connection works all the same.
    pub(crate) fn apply(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        let mut failed = stream.set_nodelay(true).err();
        if self.enabled {
            let mut values = TcpKeepalive::new();
            if let Some(idle) = self.idle {
                values = values.with_time(idle);
            }
            if let Some(interval) = self.interval {
                values = values.with_interval(interval);
            }
            if let Some(count) = self.count {
                values = values.with_retries(count);
            }
            failed = failed.or(socket.set_tcp_keepalive(&values).err());
        } else {
            failed = failed.or(socket.set_keepalive(false).err());
        }
        if let Some(error) = failed {
            log::debug!("socket options of a connection could not be set: {error}");
        }
    }
}
