//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Keepalive;

/// How a listening socket is made.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections the system holds ready (`zmq_backlog`).
    pub backlog: u32,
    /// Keepalive of accepted connections.
    pub keepalive: Keepalive,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { backlog: 1000, keepalive: Keepalive::default() }
    }
}

/// Listens on `address` with `SO_REUSEADDR`; an IPv6 wildcard takes IPv4 peers too.
///
/// # Errors
/// When the system refuses the address (in use, not ours, no right to the port).
pub fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let _ = (address, options);
    todo!()
}
