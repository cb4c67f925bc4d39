//! The publish server of a master (PUB, port 4505).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use saltern_zmtp::{
    Config, Error, Event, Limits, SocketType, Subscriptions, encode_ping, frame_head,
};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Heartbeat;
use super::counters::{CloseReason, Counters};
use super::link::{Encoded, Flow, Link, LinkError};
use super::server::{Acceptor, Bound, Ended, Place, Registry, Stage, Wake, lock};
use crate::net::ListenOptions;

/// Bytes of a topic a subscriber may ask for.
const TOPIC_MAX: usize = 1024;
/// What is taken from a subscriber's queue at a time: messages, and bytes after which no more are.
const BATCH: usize = 16;
const BATCH_BYTES: usize = 256 << 10;

/// Bounds and settings of a [`Publisher`].
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// The listening socket.
    pub listen: ListenOptions,
    /// Connections at a time. Never more than half of what the limit on open files leaves when
    /// the socket is bound (raise that first: `max_open_files`).
    pub max_connections: usize,
    /// Connections at a time from one address; 0 sets no bound.
    pub max_per_address: usize,
    /// Time for the ZMTP handshake.
    pub handshake_timeout: Duration,
    /// Messages waiting for one subscriber (`pub_hwm`).
    pub hwm: usize,
    /// Bytes waiting for one subscriber.
    pub hwm_bytes: usize,
    /// Subscriptions of one subscriber.
    pub max_subscriptions: usize,
    /// Finds peers that are gone without a word (`zmq_heartbeat_ivl`, `zmq_heartbeat_timeout`);
    /// `None` sends no heartbeats.
    pub heartbeat: Option<Heartbeat>,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        PublisherOptions {
            listen: ListenOptions::default(),
            max_connections: 100_000,
            max_per_address: 0,
            handshake_timeout: Duration::from_secs(10),
            hwm: 1000,
            hwm_bytes: 64 << 20,
            max_subscriptions: 1024,
            heartbeat: Some(Heartbeat {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(30),
            }),
        }
    }
}

/// What became of one published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishReport {
    /// Subscribers it was queued for.
    pub delivered: usize,
    /// Subscribers that wanted it and whose queue was full.
    pub dropped: usize,
}

/// A connected subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberInfo {
    /// Where it connects from.
    pub peer: SocketAddr,
    /// The identity it gave itself; empty for most peers, and never proof of anything.
    pub identity: Vec<u8>,
    /// Messages its full queue had no room for.
    pub dropped: u64,
}

/// The server. Dropping it closes the socket and every connection at once.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    accepting: Acceptor<Conn>,
}

impl Publisher {
    /// Listens on `address` and starts to accept. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr, options: PublisherOptions) -> io::Result<Publisher> {
        let (max, per_address) = (options.max_connections, options.max_per_address);
        let bound = Bound::new(address, &options.listen, "publisher", max, per_address)?;
        let shared = Arc::new(Shared {
            registry: Arc::clone(&bound.registry),
            config: Arc::new(Config {
                socket_type: SocketType::Pub,
                identity: Vec::new(),
                limits: Limits::messages_of(TOPIC_MAX),
            }),
            options,
        });
        let of = Arc::clone(&shared);
        let one = move |stream, place| drop(tokio::spawn(serve(stream, place, Arc::clone(&of))));
        Ok(Publisher { shared, accepting: bound.serve(Conn::new, Arc::new(one)) })
    }

    /// Where it listens (the real port when 0 was asked for).
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.accepting.address()
    }

    /// Queues a message for every subscriber that wants it: `[topic, payload]`, or `[payload]`
    /// without a topic. Never blocks. The payload is shared, not copied.
    pub fn publish(&self, topic: Option<&str>, payload: impl Into<Arc<[u8]>>) -> PublishReport {
        let payload = payload.into();
        let mut head = Vec::with_capacity(topic.map_or(0, str::len) + 2 * saltern_zmtp::HEAD_MAX);
        if let Some(topic) = topic {
            frame_head(&mut head, topic.len(), true);
            head.extend_from_slice(topic.as_bytes());
        }
        frame_head(&mut head, payload.len(), false);
        let message = Arc::new(Encoded { head, payload });
        let first = topic.map_or(&message.payload[..], str::as_bytes);
        let mut report = PublishReport::default();
        let Shared { registry, options, .. } = &*self.shared;
        registry.each(|connection| match connection.offer(first, &message, options) {
            Offer::NotWanted => {}
            Offer::Queued => report.delivered += 1,
            Offer::Full => {
                report.dropped += 1;
                registry.tally.dropped(1, connection.peer, "its queue is full");
            }
        });
        registry.tally.messages.fetch_add(report.delivered as u64, Ordering::Relaxed);
        report
    }

    /// Peers with at least one subscription.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        let mut count = 0;
        self.shared.registry.each(|connection| {
            count += usize::from(!lock(&connection.state).topics.is_empty());
        });
        count
    }

    /// The connected subscribers.
    #[must_use]
    pub fn peers(&self) -> Vec<SubscriberInfo> {
        let mut peers = Vec::new();
        self.shared.registry.each(|connection| {
            if !lock(&connection.state).topics.is_empty() {
                peers.push(connection.info());
            }
        });
        peers
    }

    /// Connections, also those that have not subscribed yet; costs nothing, unlike
    /// [`Publisher::subscribers`].
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.registry.open()
    }

    /// Stops accepting; the port is free then. Those who are connected stay.
    pub async fn stop_listening(&self) {
        self.accepting.stop().await;
    }

    /// Listens on the same address as before [`Publisher::stop_listening`]; nothing where it
    /// listens.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub fn listen_again(&self) -> io::Result<()> {
        self.accepting.resume()
    }

    /// Whether it accepts subscribers.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.accepting.is_listening()
    }

    /// Ends the connections `wanted` picks, each when what is queued for it has left. Returns
    /// their number.
    pub fn dismiss(&self, mut wanted: impl FnMut(&SubscriberInfo) -> bool) -> usize {
        let mut dismissed = 0;
        self.shared.registry.each(|connection| {
            let picked = !connection.leaving.load(Ordering::Acquire) && wanted(&connection.info());
            if picked {
                connection.leaving.store(true, Ordering::Release);
                connection.wake.notify_one();
                dismissed += 1;
            }
        });
        dismissed
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.registry.tally.snapshot(self.shared.registry.open())
    }

    /// Stops accepting, waits up to `grace` for queued messages to leave, then closes every
    /// connection.
    pub async fn close(&self, grace: Duration) {
        self.accepting.stop().await;
        self.shared.registry.close(grace).await;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.registry.end();
    }
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry<Conn>>,
    config: Arc<Config>,
    options: PublisherOptions,
}

/// The part of a connection that publishing sees.
#[derive(Debug)]
struct Conn {
    peer: SocketAddr,
    state: Mutex<State>,
    /// To be closed as soon as its queue is empty.
    leaving: AtomicBool,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: Subscriptions,
    queue: VecDeque<Arc<Encoded>>,
    /// Bytes in `queue`.
    bytes: usize,
    identity: Box<[u8]>,
    dropped: u64,
}

enum Offer {
    NotWanted,
    Queued,
    Full,
}

impl Conn {
    fn new(peer: SocketAddr) -> Conn {
        Conn { peer, state: Mutex::default(), leaving: AtomicBool::new(false), wake: Notify::new() }
    }

    fn info(&self) -> SubscriberInfo {
        let state = lock(&self.state);
        SubscriberInfo {
            peer: self.peer,
            identity: state.identity.to_vec(),
            dropped: state.dropped,
        }
    }

    fn offer(&self, first: &[u8], message: &Arc<Encoded>, options: &PublisherOptions) -> Offer {
        let mut state = lock(&self.state);
        if !state.topics.wants(first) {
            return Offer::NotWanted;
        }
        // An empty queue takes any message, however long.
        let fits = state.queue.is_empty()
            || state.queue.len() < options.hwm.max(1)
                && state.bytes + message.len() <= options.hwm_bytes;
        if !fits {
            state.dropped += 1;
            return Offer::Full;
        }
        state.bytes += message.len();
        state.queue.push_back(message.clone());
        drop(state);
        self.wake.notify_one();
        Offer::Queued
    }

    /// Moves a batch of the queue to the link.
    fn feed(&self, link: &mut Link) {
        let mut state = lock(&self.state);
        let mut bytes = 0;
        for _ in 0..BATCH {
            let Some(message) = state.queue.pop_front() else { break };
            bytes += message.len();
            link.send_shared(message);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        state.bytes -= bytes;
        if state.queue.is_empty() {
            // An idle subscriber holds no memory for its queue.
            state.queue = VecDeque::new();
        }
    }
}

impl Wake for Conn {
    fn wake(&self) {
        self.wake.notify_one();
    }
}

async fn serve(stream: TcpStream, place: Place<Conn>, shared: Arc<Shared>) {
    let now = Instant::now();
    let mut session = Session {
        link: Link::new(stream, shared.config.clone()),
        last_sign: now,
        pinged: None,
        blocked: false,
        connection: &place.connection,
        shared: &shared,
    };
    let Ended(reason, detail) = session.run().await;
    shared.registry.tally.close(reason, place.peer, &detail);
}

struct Session<'a> {
    link: Link,
    /// When the peer last gave a sign of life; until the handshake, when it connected.
    last_sign: Instant,
    /// When the PING was sent that waits for a sign of life.
    pinged: Option<Instant>,
    /// The socket was full when last written to.
    blocked: bool,
    connection: &'a Conn,
    shared: &'a Shared,
}

impl Session<'_> {
    async fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.step().await {
                // Best effort: the reason of a refused handshake is worth a try.
                let _ = self.link.flush();
                return ended;
            }
        }
    }

    /// Does what can be done now, then waits for something to happen.
    async fn step(&mut self) -> Result<(), Ended> {
        self.write()?;
        let stage = self.shared.registry.stage();
        let leaving = stage == Stage::Draining || self.connection.leaving.load(Ordering::Acquire);
        if stage == Stage::Ended || leaving && self.link.is_flushed() {
            return Err(CloseReason::Shutdown.into());
        }
        let deadline = self.deadline();
        let timer = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.connection.wake.notified() => Ok(()),
            ready = self.link.ready(true) => {
                let ready = ready.map_err(LinkError::from)?;
                if ready.is_readable() || ready.is_read_closed() {
                    self.read()?;
                }
                Ok(())
            }
            () = timer => self.on_deadline(),
        }
    }

    /// Writes until the queue is empty or the socket full.
    fn write(&mut self) -> Result<(), Ended> {
        loop {
            if self.link.is_flushed() {
                self.connection.feed(&mut self.link);
                if self.link.is_flushed() {
                    return Ok(());
                }
            }
            let wrote = self.link.flush()?;
            if self.blocked && wrote > 0 && self.link.connection().is_open() {
                // It takes bytes it was slow to take: that is a sign of life too, and its answer
                // to a PING may stand behind many of them.
                self.alive();
            }
            self.blocked = !self.link.is_flushed();
            if self.blocked {
                return Ok(());
            }
        }
    }

    fn alive(&mut self) {
        self.last_sign = Instant::now();
        self.pinged = None;
    }

    fn deadline(&self) -> Option<Instant> {
        let options = &self.shared.options;
        if !self.link.connection().is_open() {
            return Some(self.last_sign + options.handshake_timeout);
        }
        let heartbeat = options.heartbeat?;
        if !self.link.connection().peer_answers_pings() {
            return None;
        }
        Some(match self.pinged {
            Some(pinged) => pinged + heartbeat.timeout,
            None => self.last_sign + heartbeat.interval,
        })
    }

    fn on_deadline(&mut self) -> Result<(), Ended> {
        if !self.link.connection().is_open() {
            return Err(CloseReason::HandshakeTimeout.into());
        }
        if self.pinged.is_some() {
            return Err(CloseReason::Silent.into());
        }
        let mut ping = Vec::with_capacity(16);
        // No TTL: a busy master must not make its minions leave.
        encode_ping(&mut ping, 0, &[]);
        self.link.send_control(ping);
        self.pinged = Some(Instant::now());
        Ok(())
    }

    fn read(&mut self) -> Result<(), Ended> {
        let max = self.shared.options.max_subscriptions;
        let Session { link, connection, .. } = self;
        let (mut too_many, mut opened) = (false, false);
        let read = link.read(&mut |event| {
            let mut state = lock(&connection.state);
            match event {
                Event::Ready(peer) => {
                    state.identity = peer.identity.into_boxed_slice();
                    opened = true;
                }
                Event::Subscribe(topic) => too_many |= state.topics.subscribe(&topic, max).is_err(),
                Event::Cancel(topic) => state.topics.cancel(&topic),
                Event::Message(_) | Event::Pong(_) => {}
            }
            if too_many { Flow::Pause } else { Flow::Continue }
        })?;
        if too_many {
            return Err(LinkError::Protocol(Error::TooLong("list of subscriptions")).into());
        }
        if read > 0 && (opened || self.link.connection().is_open()) {
            self.alive();
        }
        Ok(())
    }
}
