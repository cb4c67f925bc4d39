//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

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
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.bind(address)?;
    socket.listen(options.backlog.max(1))
}
