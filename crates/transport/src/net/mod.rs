//! Plain TCP: listening, resolving, connecting with deadlines, keepalive.

mod connect;
mod listen;

pub use connect::{ConnectError, ConnectOptions, IpFamily, connect};
pub use listen::{ListenOptions, listen};

use std::time::Duration;

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
        Keepalive { enabled: true, idle: Some(Duration::from_secs(300)), interval: None, count: None }
    }
}
