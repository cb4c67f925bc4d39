//! The request server of a master (ROUTER, port 4506).

mod session;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use saltern_zmtp::{Config, Limits, SocketType};
use tokio::sync::Notify;

use super::budget::{Budget, CompleteLease};
use super::counters::Counters;
use super::places::{Places, Role};
use super::server::{Acceptor, Bound, Bounds, Peer, Registry, Stage, lock};
use crate::net::ListenOptions;

/// Hundredths of a second that a new connection has for its first request before it may give way;
/// less than others wait for room.
const FIRST: u32 = 30;

/// Answers a request from its body alone, or says `None`. Must not wait.
pub type AnswerAtOnce = fn(&[u8]) -> Option<Vec<u8>>;

/// Bounds and settings of a [`Router`].
#[derive(Clone, Debug)]
pub struct RouterOptions {
    /// The listening socket.
    pub listen: ListenOptions,
    /// Connections at a time. When the open files run short, idle ones give way
    /// to new ones and to subscriptions.
    pub max_connections: usize,
    /// Connections at a time from one address; 0 sets no bound.
    pub max_per_address: usize,
    /// Connections accepted in a second, and at once after a pause; 0 sets no bound.
    pub accept_rate: u32,
    /// The open files shared with other servers; `None`: none are shared.
    pub places: Option<Arc<Places>>,
    /// Answers what needs nothing but its own bytes where it is read, without a way through
    /// [`Router::recv`].
    pub at_once: Option<AnswerAtOnce>,
    /// Time for the ZMTP handshake.
    pub handshake_timeout: Duration,
    /// Bytes of one request. Returns of big jobs must fit.
    pub max_message: usize,
    /// Bytes of requests under way (being received or not yet answered), over all connections: what
    /// strangers can make the server hold. Half is for the big ones (raised to four times
    /// `max_message` if that is more), and one address gets at most half of that.
    pub budget: usize,
    /// Requests of one connection not yet answered; its further ones wait in its socket.
    pub max_in_flight: usize,
    /// A request under way must bring 256 kB, or end, in every span of this length.
    pub stall_timeout: Duration,
    /// A request under way must end within this time.
    pub message_timeout: Duration,
}

impl Default for RouterOptions {
    fn default() -> Self {
        RouterOptions {
            listen: ListenOptions::default(),
            max_connections: 100_000,
            max_per_address: 0,
            accept_rate: 0,
            places: None,
            at_once: None,
            handshake_timeout: Duration::from_secs(10),
            max_message: 100 << 20,
            budget: 512 << 20,
            max_in_flight: 32,
            stall_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(600),
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
pub struct Reply {
    connection: Arc<Conn>,
    shared: Arc<Shared>,
    /// The request counts against the budget until it is answered.
    _lease: CompleteLease,
}

impl Reply {
    /// Sends the answer. Never blocks; if the peer is gone the answer is dropped and counted.
    pub fn send(self, body: Vec<u8>) {
        let mut outbox = lock(&self.connection.outbox);
        if outbox.gone {
            drop(outbox);
            self.shared.registry.tally.dropped(1, self.connection.peer, "the peer is gone");
        } else {
            outbox.replies.push(body);
            self.shared.touch(&self.connection);
        }
        // Dropping `self` wakes the connection.
    }

    /// Whether the peer is gone, so that an answer need not be made.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        lock(&self.connection.outbox).gone
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.connection.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.connection.wake.notify_one();
    }
}

/// The server. Dropping it closes the socket and every connection at once.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    accepting: Acceptor<Conn>,
}

impl Router {
    /// Listens on `address` and starts to accept. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr, options: RouterOptions) -> io::Result<Router> {
        let bounds = Bounds {
            role: Role::Passing,
            max: options.max_connections,
            max_per_address: options.max_per_address,
            rate: options.accept_rate,
            places: options.places.clone().unwrap_or_else(Places::of_this_process),
        };
        let places = Arc::clone(&bounds.places);
        let bound = Bound::new(address, &options.listen, "request server", bounds)?;
        let registry = Arc::downgrade(&bound.registry);
        places.on_pressure(Box::new(move |number| {
            if let Some(registry) = registry.upgrade() {
                registry.make_room(number);
            }
        }));
        let shared = Arc::new(Shared {
            registry: Arc::clone(&bound.registry),
            config: Arc::new(Config {
                socket_type: SocketType::Router,
                identity: Vec::new(),
                limits: Limits::messages_of(options.max_message),
            }),
            budget: Arc::new(Budget::new(options.budget, options.max_message)),
            options,
            inbox: Mutex::default(),
            arrived: Notify::new(),
        });
        let of = Arc::clone(&shared);
        let one =
            move |stream, place| drop(tokio::spawn(session::serve(stream, place, Arc::clone(&of))));
        Ok(Router { shared, accepting: bound.serve(Conn::new, Arc::new(one))? })
    }

    /// Where it listens (the real port when 0 was asked for).
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.accepting.address()
    }

    /// The next request; `None` after [`Router::close`]. May be called by several tasks.
    /// Cancellation-safe.
    pub async fn recv(&self) -> Option<Request> {
        loop {
            let arrived = self.shared.arrived.notified();
            {
                let mut inbox = lock(&self.shared.inbox);
                if let Some(request) = inbox.pop_front() {
                    if !inbox.is_empty() {
                        // One notice may stand for several requests: pass it on.
                        self.shared.arrived.notify_one();
                    }
                    return Some(request);
                }
            }
            if self.shared.registry.stage() != Stage::Running {
                self.shared.arrived.notify_one();
                return None;
            }
            arrived.await;
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.registry.tally.snapshot(self.shared.registry.open())
    }

    /// Stops accepting and reading, waits up to `grace` for the answers to requests already taken,
    /// then closes every connection.
    pub async fn close(&self, grace: Duration) {
        self.accepting.stop().await;
        self.shared.registry.drain();
        self.shared.arrived.notify_one();
        self.shared.registry.close(grace).await;
        lock(&self.shared.inbox).clear();
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.shared.registry.end();
        // Requests nobody took refer to `shared`, which holds them.
        let requests = std::mem::take(&mut *lock(&self.shared.inbox));
        drop(requests);
    }
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry<Conn>>,
    config: Arc<Config>,
    budget: Arc<Budget>,
    options: RouterOptions,
    /// Bounded by the budget.
    inbox: Mutex<VecDeque<Request>>,
    arrived: Notify,
}

/// The part of a connection that replies hold.
#[derive(Debug)]
struct Conn {
    peer: SocketAddr,
    outbox: Mutex<Outbox>,
    in_flight: AtomicUsize,
    /// When it was used last (in future for a new one); `u32::MAX` before the handshake is done.
    used: AtomicU32,
    /// It was asked to make room for others.
    leaving: AtomicBool,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Outbox {
    replies: Vec<Vec<u8>>,
    gone: bool,
}

impl Conn {
    fn new(peer: SocketAddr) -> Conn {
        Conn {
            peer,
            outbox: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            used: AtomicU32::new(u32::MAX),
            leaving: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }
}

impl Peer for Conn {
    fn wake(&self) {
        self.wake.notify_one();
    }

    fn idle_since(&self) -> Option<u32> {
        let used = self.used.load(Ordering::Relaxed);
        let idle = self.in_flight.load(Ordering::Acquire) == 0 && !self.is_leaving();
        (idle && used != u32::MAX).then_some(used)
    }

    fn ask_to_leave(&self) -> bool {
        !self.leaving.swap(true, Ordering::AcqRel)
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }
}

impl Shared {
    /// Notes that a connection is ready for its first request, which it gets some time for: what
    /// gave way before would come again at once, and a herd would never get a word in.
    fn greet(&self, connection: &Conn) {
        connection.used.store(self.registry.now().saturating_add(FIRST), Ordering::Relaxed);
    }

    /// Notes that a connection is used.
    fn touch(&self, connection: &Conn) {
        connection.used.store(self.registry.now(), Ordering::Relaxed);
    }
}
