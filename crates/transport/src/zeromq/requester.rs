//! The request client of a minion or a tool (REQ), with a bounded pool of connections.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use saltern_zmtp::{Config, Event, Limits, SocketType};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::{self, Failure, unexpected};
use super::link::{Flow, Link};
use super::server::lock;
use crate::net::{ConnectError, ConnectOptions};

/// Bounds and settings of a [`Requester`].
#[derive(Clone, Debug)]
pub struct RequesterOptions {
    /// How connections are made.
    pub connect: ConnectOptions,
    /// Connections at a time; further requests wait for one. A fixed source port allows one only.
    pub max_connections: usize,
    /// An unused connection is closed after this time.
    pub idle_timeout: Duration,
    /// Bytes of one reply.
    pub max_message: usize,
}

impl Default for RequesterOptions {
    fn default() -> Self {
        RequesterOptions {
            connect: ConnectOptions::default(),
            max_connections: 8,
            idle_timeout: Duration::from_secs(60),
            max_message: 100 << 20,
        }
    }
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The name does not resolve.
    Resolve(String),
    /// Nothing listens there.
    Refused,
    /// The address cannot be reached (no route, wrong source address, ...).
    Unreachable(String),
    /// No reply in time. It is unknown whether the request was handled.
    Timeout,
    /// The peer closed the connection. It is unknown whether the request was handled.
    Closed,
    /// The peer does not speak the protocol, or its reply is too long.
    Protocol(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Resolve(why) => write!(f, "the name does not resolve: {why}"),
            RequestError::Refused => f.write_str("the connection is refused"),
            RequestError::Unreachable(why) => write!(f, "the address is out of reach: {why}"),
            RequestError::Timeout => f.write_str("there is no reply in time"),
            RequestError::Closed => f.write_str("the connection was closed before the reply"),
            RequestError::Protocol(why) => write!(f, "the peer breaks the protocol: {why}"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<ConnectError> for RequestError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolve(why) => RequestError::Resolve(why),
            ConnectError::Refused => RequestError::Refused,
            ConnectError::Timeout => RequestError::Timeout,
            ConnectError::Unreachable(why) => RequestError::Unreachable(why),
        }
    }
}

impl From<Failure> for RequestError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connect(error) => error.into(),
            Failure::Timeout => RequestError::Timeout,
            Failure::Closed => RequestError::Closed,
            Failure::Unreachable(why) => RequestError::Unreachable(why),
            Failure::Protocol(why) => RequestError::Protocol(why),
        }
    }
}

/// The client of one address. Clones share the pool; connections are made when needed.
#[derive(Clone, Debug)]
pub struct Requester {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    address: String,
    options: RequesterOptions,
    config: Arc<Config>,
    /// One permit for each connection in use.
    permits: Semaphore,
    connections: usize,
    /// Unused connections are kept however long they are.
    held: AtomicBool,
    idle: Mutex<IdleList>,
}

#[derive(Debug, Default)]
struct IdleList {
    /// Used last stands last, and is used first.
    links: Vec<(Link, Instant)>,
    /// A task is there that closes what is unused for too long.
    watched: bool,
}

impl Requester {
    /// A client of `address` (`host:port` or `[v6]:port`). Connects to nothing yet; the name is
    /// resolved anew for each connection.
    #[must_use]
    pub fn new(address: impl Into<String>, options: RequesterOptions) -> Requester {
        let connections =
            if options.connect.source_port != 0 { 1 } else { options.max_connections.max(1) };
        let config = Arc::new(Config {
            socket_type: SocketType::Req,
            identity: Vec::new(),
            limits: Limits::messages_of(options.max_message),
        });
        let connections = connections.min(Semaphore::MAX_PERMITS);
        Requester {
            pool: Arc::new(Pool {
                address: address.into(),
                options,
                config,
                permits: Semaphore::new(connections),
                connections,
                held: AtomicBool::new(false),
                idle: Mutex::default(),
            }),
        }
    }

    /// Keeps unused connections open from now on, or closes them in time again.
    pub fn hold(&self, held: bool) {
        self.pool.held.store(held, Ordering::Relaxed);
    }

    /// Whether there is a connection, in use or not, that the peer has not closed. Looks, and
    /// does not wait.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let idle = &mut lock(&self.pool.idle).links;
        idle.retain_mut(|(link, _)| {
            let mut surprised = false;
            let read = link.read(&mut |event| {
                surprised |= matches!(event, Event::Message(_));
                Flow::Continue
            });
            read.is_ok() && !surprised
        });
        !idle.is_empty() || self.pool.permits.available_permits() < self.pool.connections
    }

    /// Whether a request would go out at once: fewer than [`RequesterOptions::max_connections`]
    /// are under way.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.pool.permits.available_permits() > 0
    }

    /// The address it was made for.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.pool.address
    }

    /// Sends `body` and waits for the reply; `timeout` covers waiting for a free connection,
    /// connecting, the handshake and the reply. Cancellation-safe: a dropped call closes its
    /// connection.
    ///
    /// # Errors
    /// A [`RequestError`]; nothing is sent twice.
    pub async fn request(&self, body: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, RequestError> {
        let deadline = Instant::now() + timeout;
        let exchange = async {
            let _permit = self.pool.permits.acquire().await.map_err(|_| Failure::Closed)?;
            let mut link = self.link(deadline).await?;
            link.send_enveloped(body);
            let reply = reply(&mut link).await?;
            self.keep(link);
            Ok(reply)
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(Failure::Timeout)).map_err(Into::into)
    }

    /// Makes sure that a connection can be made, handshake included, and keeps it for the next
    /// request.
    ///
    /// # Errors
    /// As [`Requester::request`].
    pub async fn check(&self, timeout: Duration) -> Result<(), RequestError> {
        let deadline = Instant::now() + timeout;
        let opening = async {
            let _permit = self.pool.permits.acquire().await.map_err(|_| Failure::Closed)?;
            let Pool { address, options, config, .. } = &*self.pool;
            // A fixed source port cannot be used twice.
            if options.connect.source_port != 0 {
                self.close_idle();
            }
            let (link, _) =
                client::open(address, &options.connect, config.clone(), deadline).await?;
            self.keep(link);
            Ok(())
        };
        timeout_at(deadline, opening).await.unwrap_or(Err(Failure::Timeout)).map_err(Into::into)
    }

    /// Closes every unused connection now.
    pub fn close_idle(&self) {
        lock(&self.pool.idle).links.clear();
    }

    /// An unused connection that still lives, or a new one.
    async fn link(&self, deadline: Instant) -> Result<Link, Failure> {
        loop {
            let Some((mut link, _)) = lock(&self.pool.idle).links.pop() else { break };
            // Nothing but commands may have arrived: a message would answer no request.
            let mut surprised = false;
            let read = link.read(&mut |event| {
                surprised |= matches!(event, Event::Message(_));
                Flow::Continue
            });
            if read.is_ok() && !surprised && link.flush().is_ok() {
                return Ok(link);
            }
        }
        let Pool { address, options, config, .. } = &*self.pool;
        let (link, _) = client::open(address, &options.connect, config.clone(), deadline).await?;
        Ok(link)
    }

    /// Puts a connection back for the next request.
    fn keep(&self, link: Link) {
        let Pool { options, idle, .. } = &*self.pool;
        if options.idle_timeout.is_zero() || !link.is_flushed() || link.has_leftover() {
            return;
        }
        let mut idle = lock(idle);
        idle.links.push((link, Instant::now()));
        let surplus = idle.links.len().saturating_sub(options.max_connections.max(1));
        idle.links.drain(..surplus);
        if !idle.watched {
            idle.watched = true;
            tokio::spawn(watch(Arc::downgrade(&self.pool), options.idle_timeout));
        }
    }
}

/// Closes connections unused for `limit`; ends when none is left.
async fn watch(pool: Weak<Pool>, limit: Duration) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = lock(&pool.idle);
            let now = Instant::now();
            let held = pool.held.load(Ordering::Relaxed);
            idle.links.retain(|(_, used)| held || now.duration_since(*used) < limit);
            match idle.links.first() {
                Some(_) if held => now + limit,
                Some((_, used)) => *used + limit,
                None => {
                    idle.watched = false;
                    return;
                }
            }
        };
        sleep_until(next).await;
    }
}

/// Waits for the answer to the request that was queued.
async fn reply(link: &mut Link) -> Result<Vec<u8>, Failure> {
    let mut message = None;
    loop {
        client::turn(link, &mut |event| match event {
            Event::Message(frames) => {
                message = Some(frames);
                Flow::Pause
            }
            _ => Flow::Continue,
        })
        .await?;
        if let Some(frames) = message {
            return match <[Vec<u8>; 2]>::try_from(frames) {
                Ok([delimiter, body]) if delimiter.is_empty() => Ok(body),
                _ => Err(unexpected("reply")),
            };
        }
    }
}
