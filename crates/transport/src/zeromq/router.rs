//! The request server of a master (ROUTER, port 4506).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use saltern_zmtp::{Config, Event, Limits, SocketType};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::budget::{Budget, CompleteLease, Lease};
use super::counters::{CloseReason, Counters};
use super::link::{Flow, Link, LinkError};
use super::places::{Places, Role};
use super::server::{Acceptor, Bound, Bounds, Ended, Peer, Place, Registry, Stage, lock};
use super::timer::Timer;
use crate::net::ListenOptions;

/// Bytes that a request under way must bring in each span of `stall_timeout`.
const PROGRESS: usize = 256 << 10;
/// Bytes of answers a peer may leave unread before no more requests are read from it.
const UNWRITTEN_MAX: usize = 64 << 10;
/// How long a big request waits for room in the budget, and how often it looks.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);
const ROOM_POLL: Duration = Duration::from_millis(50);

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
        let one = move |stream, place| drop(tokio::spawn(serve(stream, place, Arc::clone(&of))));
        Ok(Router { shared, accepting: bound.serve(Conn::new, Arc::new(one)) })
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
    /// When it was used last; `u32::MAX` before the handshake is done.
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

async fn serve(stream: TcpStream, place: Place<Conn>, shared: Arc<Shared>) {
    let mut session = Session {
        link: Link::new(stream, shared.config.clone()),
        lease: Lease::new(shared.budget.clone(), place.peer.ip()),
        opened: Instant::now(),
        under_way: None,
        starved: None,
        blocked: None,
        connection: &place.connection,
        shared: &shared,
    };
    let Ended(reason, detail) = session.run().await;
    drop(session);
    let unsent = {
        let mut outbox = lock(&place.connection.outbox);
        outbox.gone = true;
        std::mem::take(&mut outbox.replies).len()
    };
    let tally = &shared.registry.tally;
    if unsent > 0 {
        tally.dropped(unsent, place.peer, "the peer is gone");
    }
    tally.close(reason, place.peer, &detail);
}

/// A message that is not complete yet.
#[derive(Clone, Copy)]
struct UnderWay {
    since: Instant,
    /// Beginning of the present span of `stall_timeout`, and the bytes that came in it.
    span: Instant,
    bytes: usize,
}

struct Session<'a> {
    link: Link,
    lease: Lease,
    opened: Instant,
    under_way: Option<UnderWay>,
    /// Since when the message under way waits for room in the budget.
    starved: Option<Instant>,
    /// Since when the peer takes no bytes of the answers to it.
    blocked: Option<Instant>,
    connection: &'a Arc<Conn>,
    shared: &'a Arc<Shared>,
}

impl Session<'_> {
    async fn run(&mut self) -> Ended {
        let mut timer = Timer::default();
        loop {
            if let Err(ended) = self.step(&mut timer).await {
                // Best effort: the reason of a refused handshake is worth a try.
                let _ = self.link.flush();
                return ended;
            }
        }
    }

    /// Does what can be done now, then waits for something to happen.
    async fn step(&mut self, timer: &mut Timer) -> Result<(), Ended> {
        for reply in std::mem::take(&mut lock(&self.connection.outbox).replies) {
            self.link.send_enveloped(reply);
        }
        let wrote = self.link.flush()?;
        self.blocked = match self.blocked {
            _ if self.link.is_flushed() => None,
            Some(since) if wrote == 0 => Some(since),
            _ => Some(Instant::now()),
        };
        let stage = self.shared.registry.stage();
        if stage == Stage::Ended || stage == Stage::Draining && self.is_quiet() {
            return Err(CloseReason::Shutdown.into());
        }
        if self.connection.is_leaving() {
            if self.is_quiet() && self.link.held() == 0 {
                // What has arrived in this moment is a request in hand.
                self.consume(false)?;
                if self.is_quiet() && self.link.held() == 0 {
                    return Err(CloseReason::GaveWay.into());
                }
            }
            self.connection.leaving.store(false, Ordering::Release);
            self.shared.registry.stays();
            return Ok(());
        }
        let reading = stage == Stage::Running && self.has_room();
        if reading && self.link.has_leftover() {
            self.consume(true)?;
            return Ok(());
        }
        let deadline = self.deadline();
        tokio::select! {
            biased;
            () = self.connection.wake.notified() => Ok(()),
            ready = self.link.ready(reading) => {
                let ready = ready.map_err(LinkError::from)?;
                if ready.is_readable() || ready.is_read_closed() {
                    self.consume(false)?;
                }
                Ok(())
            }
            () = timer.wait(deadline) => self.on_deadline(),
        }
    }

    /// Whether no request is in hand and no answer is to be written.
    fn is_quiet(&self) -> bool {
        self.connection.in_flight.load(Ordering::Acquire) == 0
            && self.link.is_flushed()
            && lock(&self.connection.outbox).replies.is_empty()
    }

    /// Whether more may be read now.
    fn has_room(&mut self) -> bool {
        if self.starved.is_some() && self.lease.resize(self.link.held()) {
            self.starved = None;
        }
        self.starved.is_none()
            && self.link.unwritten() <= UNWRITTEN_MAX
            && self.connection.in_flight.load(Ordering::Acquire)
                < self.shared.options.max_in_flight.max(1)
    }

    fn deadline(&self) -> Option<Instant> {
        let options = &self.shared.options;
        if !self.link.connection().is_open() {
            return Some(self.opened + options.handshake_timeout);
        }
        if self.starved.is_some() {
            return Some(Instant::now() + ROOM_POLL);
        }
        let blocked = self.blocked.map(|since| since + options.stall_timeout);
        let stalled = self.under_way.map(|message| {
            (message.span + options.stall_timeout).min(message.since + options.message_timeout)
        });
        blocked.into_iter().chain(stalled).min()
    }

    fn on_deadline(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if !self.link.connection().is_open() {
            let late = now >= self.opened + self.shared.options.handshake_timeout;
            return if late { Err(CloseReason::HandshakeTimeout.into()) } else { Ok(()) };
        }
        if let Some(since) = self.starved {
            if now.duration_since(since) < ROOM_TIMEOUT {
                return Ok(());
            }
            return Err(Ended(CloseReason::NoRoom, "too many big requests at a time".into()));
        }
        let options = &self.shared.options;
        if self.blocked.is_some_and(|since| now >= since + options.stall_timeout) {
            return Err(Ended(CloseReason::Stalled, "it does not read its answers".into()));
        }
        let late = options.message_timeout;
        match &mut self.under_way {
            Some(message) if now >= message.since + late => Err(CloseReason::Stalled.into()),
            Some(message) if now < message.span + options.stall_timeout => Ok(()),
            Some(message) if message.bytes < PROGRESS => Err(CloseReason::Stalled.into()),
            Some(message) => {
                (message.span, message.bytes) = (now, 0);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Reads once (or goes on with what is left over) and hands on the requests in it.
    fn consume(&mut self, leftover: bool) -> Result<(), Ended> {
        let Session { link, lease, connection, shared, .. } = self;
        let (mut out_of_room, mut completed) = (false, false);
        let max_in_flight = shared.options.max_in_flight.max(1);
        let mut answers = Vec::new();
        let mut on = |event| {
            if let Event::Ready(_) = event {
                shared.touch(connection);
            }
            let Event::Message(frames) = event else { return Flow::Continue };
            completed = true;
            shared.touch(connection);
            let Some(body) = body_of(frames) else {
                shared.registry.tally.bad_shape(connection.peer);
                return Flow::Continue;
            };
            // Only where it cannot overtake the answer to a request before it.
            if connection.in_flight.load(Ordering::Acquire) == 0
                && lock(&connection.outbox).replies.is_empty()
                && let Some(answer) = shared.options.at_once.and_then(|at_once| at_once(&body))
            {
                shared.registry.tally.messages.fetch_add(1, Ordering::Relaxed);
                answers.push(answer);
                return Flow::Continue;
            }
            let Some(lease) = lease.complete(body.len()) else {
                out_of_room = true;
                return Flow::Pause;
            };
            let in_flight = connection.in_flight.fetch_add(1, Ordering::AcqRel) + 1;
            deliver(shared, connection, body, lease);
            if in_flight < max_in_flight { Flow::Continue } else { Flow::Pause }
        };
        let read = if leftover { link.resume(&mut on).map(|()| 0) } else { link.read(&mut on) };
        for answer in answers {
            link.send_enveloped(answer);
        }
        let read = read?;
        if out_of_room {
            return Err(Ended(CloseReason::NoRoom, "too many requests at a time".into()));
        }
        self.track(read, completed);
        Ok(())
    }

    /// Keeps account of the message under way.
    fn track(&mut self, read: usize, completed: bool) {
        let held = self.link.held();
        let now = Instant::now();
        if !self.lease.resize(held) {
            self.starved = Some(now);
        }
        let fresh = UnderWay { since: now, span: now, bytes: 0 };
        self.under_way = match self.under_way {
            _ if self.link.connection().held() == 0 => None,
            Some(message) if !completed => {
                Some(UnderWay { bytes: message.bytes + read, ..message })
            }
            _ => Some(fresh),
        };
    }
}

impl Shared {
    /// Notes that a connection is used.
    fn touch(&self, connection: &Conn) {
        connection.used.store(self.registry.now(), Ordering::Relaxed);
    }
}

fn deliver(shared: &Arc<Shared>, connection: &Arc<Conn>, body: Vec<u8>, lease: CompleteLease) {
    let reply = Reply { connection: connection.clone(), shared: shared.clone(), _lease: lease };
    shared.registry.tally.messages.fetch_add(1, Ordering::Relaxed);
    let request = Request { peer: connection.peer, body, reply };
    let mut inbox = lock(&shared.inbox);
    // Nobody empties the inbox any more after the end, and what lies in it refers to it.
    if shared.registry.stage() != Stage::Ended {
        inbox.push_back(request);
        drop(inbox);
        shared.arrived.notify_one();
    }
}

/// The body of `["", body]`; nothing else is a request.
fn body_of(frames: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    match <[Vec<u8>; 2]>::try_from(frames) {
        Ok([delimiter, body]) if delimiter.is_empty() => Some(body),
        _ => None,
    }
}
