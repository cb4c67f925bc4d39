//! What both clients share: connecting, the handshake, waiting for frames.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use saltern_zmtp::{Config, Error, Event};
use tokio::time::{Instant, timeout_at};

use super::link::{Flow, Link, LinkError};
use crate::net::{ConnectError, ConnectOptions, connect};

/// Why a client's connection could not be made or did not last.
#[derive(Debug)]
pub(crate) enum Failure {
    Connect(ConnectError),
    Timeout,
    Closed,
    Unreachable(String),
    Protocol(String),
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed => Failure::Closed,
            LinkError::Io(error) => match error.kind() {
                // The system gave up on an unanswered connection.
                std::io::ErrorKind::TimedOut => Failure::Closed,
                _ => Failure::Unreachable(error.to_string()),
            },
            LinkError::Protocol(error) => Failure::Protocol(error.to_string()),
        }
    }
}

/// Connects and shakes hands.
pub(crate) async fn open(
    address: &str,
    options: &ConnectOptions,
    config: Arc<Config>,
    deadline: Instant,
) -> Result<(Link, SocketAddr), Failure> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let (stream, peer) = connect(address, options, left).await.map_err(Failure::Connect)?;
    let mut link = Link::new(stream, config);
    let handshake = async {
        let mut early = false;
        while !link.connection().is_open() {
            turn(&mut link, &mut |event| {
                early |= matches!(event, Event::Message(_));
                Flow::Continue
            })
            .await?;
        }
        if early { Err(unexpected("message before anything was asked")) } else { Ok(()) }
    };
    match timeout_at(deadline, handshake).await {
        Ok(Ok(())) => Ok((link, peer)),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::Timeout),
    }
}

/// Writes what can be written, waits for the socket, and reads once. Cancellation-safe.
pub(crate) async fn turn(
    link: &mut Link,
    on: &mut (dyn FnMut(Event) -> Flow + Send),
) -> Result<usize, Failure> {
    link.flush()?;
    let ready = link.ready(true).await.map_err(LinkError::from)?;
    if ready.is_readable() || ready.is_read_closed() {
        return Ok(link.read(on)?);
    }
    Ok(0)
}

/// An event that the protocol does not allow here.
pub(crate) fn unexpected(what: &'static str) -> Failure {
    LinkError::Protocol(Error::Malformed(what)).into()
}
