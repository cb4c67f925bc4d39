//! Peers that speak the protocol by hand, and waiting.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Each test program uses its own part of this.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than anything here takes; only a failing test waits as long.
pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it never happened");
}

/// A greeting of version 3.1.
pub(crate) fn greeting() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9], bytes[10], bytes[11]) = (0xff, 0x7f, 3, 1);
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// A READY command.
pub(crate) fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\x00\x00\x00".to_vec();
    body.push(socket_type.len() as u8);
    body.extend_from_slice(socket_type.as_bytes());
    [&[4, body.len() as u8][..], &body].concat()
}

/// A peer of a request server that has shaken hands by hand.
pub(crate) async fn raw(address: &str, socket_type: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[greeting(), ready(socket_type)].concat()).await.unwrap();
    let mut answer = vec![0; 64 + ready("ROUTER").len()];
    stream.read_exact(&mut answer).await.unwrap();
    stream
}

/// An address of this machine where nobody listens. Bound all the while it is used, so that nobody
/// else gets it, not even as the port that a connection comes from.
pub(crate) fn deaf() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(local()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Waits until the other side closes the connection.
pub(crate) async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.is_ok()
}
