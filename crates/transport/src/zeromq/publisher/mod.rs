//! The publish server of a master (PUB, port 4505).

mod session;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use saltern_zmtp::{Config, Limits, SocketType, Subscriptions};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::Heartbeat;
use super::counters::Counters;
use super::link::{Encoded, Output};
use super::places::{Places, Role};
use super::server::{Acceptor, Bound, Bounds, Id, Peer, Registry, lock};
use super::topics::Topics;
use crate::net::ListenOptions;

/// Bytes of a topic a subscriber may ask for.
const TOPIC_MAX: usize = 1024;

/// Bounds and settings of a [`Publisher`].
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// The listening socket.
    pub listen: ListenOptions,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections at a time from one address; 0 sets no bound.
    pub max_per_address: usize,
    /// Connections accepted in a second, and at once after a pause; 0 sets no bound.
    pub accept_rate: u32,
    /// The open files shared with other servers; `None`: none are shared.
    pub places: Option<Arc<Places>>,
    /// Time for the ZMTP handshake.
    pub handshake_timeout: Duration,
    /// Messages waiting for one subscriber (`pub_hwm`).
    pub hwm: usize,
    /// Bytes waiting for one subscriber.
    pub hwm_bytes: usize,
    /// Subscriptions of one subscriber.
    pub max_subscriptions: usize,
    /// A subscriber that takes no byte of what waits for it in this time is closed.
    pub stall_timeout: Duration,
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
            accept_rate: 0,
            places: None,
            handshake_timeout: Duration::from_secs(10),
            hwm: 1000,
            hwm_bytes: 64 << 20,
            max_subscriptions: 1024,
            stall_timeout: Duration::from_secs(60),
            heartbeat: Some(Heartbeat {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(30),
            }),
        }
    }
}

/// Whom a message without a topic of its own is for (see [`Publisher::deliver`]).
#[derive(Clone, Copy, Debug)]
pub enum Audience<'a> {
    /// Every subscriber; those of topics get it under this one.
    Everybody {
        /// The topic that all of them take.
        topic: &'a str,
    },
    /// Those who take one of these topics, and those who take everything.
    Topics(&'a [String]),
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
        let bounds = Bounds {
            role: Role::Lasting,
            max: options.max_connections,
            max_per_address: options.max_per_address,
            rate: options.accept_rate,
            places: options.places.clone().unwrap_or_else(Places::of_this_process),
        };
        let bound = Bound::new(address, &options.listen, "publisher", bounds)?;
        let shared = Arc::new(Shared {
            registry: Arc::clone(&bound.registry),
            topics: Mutex::default(),
            config: Arc::new(Config {
                socket_type: SocketType::Pub,
                identity: Vec::new(),
                limits: Limits::messages_of(TOPIC_MAX),
            }),
            options,
        });
        let of = Arc::clone(&shared);
        let one =
            move |stream, place| drop(tokio::spawn(session::serve(stream, place, Arc::clone(&of))));
        Ok(Publisher { shared, accepting: bound.serve(Conn::new, Arc::new(one))? })
    }

    /// Where it listens (the real port when 0 was asked for).
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.accepting.address()
    }

    /// Sends a message to every subscriber that asked for the beginning of its first frame:
    /// `[topic, payload]`, or `[payload]` without a topic. Never blocks: it is written at once to
    /// those whose socket takes it, and queued for the others. The payload is shared, not copied.
    pub fn publish(&self, topic: Option<&str>, payload: impl Into<Arc<[u8]>>) -> PublishReport {
        let message = Encoded::new(topic, payload.into());
        let first = topic.map_or(&message.payload[..], str::as_bytes);
        let wanting = lock(&self.shared.topics).wanting(first);
        let mut report = PublishReport::default();
        self.send(&wanting, &message, &mut report);
        report
    }

    /// Sends a message in the form in which each subscriber wants it: `[payload]` to those who take
    /// everything, `[topic, payload]` to those who take topics. Otherwise as
    /// [`Publisher::publish`].
    pub fn deliver(&self, to: Audience<'_>, payload: impl Into<Arc<[u8]>>) -> PublishReport {
        let payload = payload.into();
        let (plain, topical) = {
            let topics = lock(&self.shared.topics);
            let of = |topic: &String| (topic.clone(), topics.only_of(topic.as_bytes()));
            let topical: Vec<(String, Found)> = match to {
                Audience::Everybody { topic } => vec![of(&topic.to_owned())],
                Audience::Topics(list) => list.iter().map(of).collect(),
            };
            (topics.of(b""), topical)
        };
        let mut report = PublishReport::default();
        for (topic, subscribers) in topical.iter().filter(|(_, who)| !who.is_empty()) {
            let message = Encoded::new(Some(topic), Arc::clone(&payload));
            self.send(subscribers, &message, &mut report);
        }
        self.send(&plain, &Encoded::new(None, payload), &mut report);
        report
    }

    fn send(&self, to: &[(Id, Arc<Conn>)], message: &Arc<Encoded>, report: &mut PublishReport) {
        let Shared { registry, options, .. } = &*self.shared;
        let before = report.delivered;
        for (_, connection) in to {
            match connection.offer(message, options) {
                Offer::Taken => report.delivered += 1,
                Offer::Gone => {
                    report.dropped += 1;
                    registry.tally.dropped(1, connection.peer, "it is gone");
                }
                Offer::Full => {
                    report.dropped += 1;
                    registry.tally.dropped(1, connection.peer, "its queue is full");
                }
            }
        }
        let delivered = report.delivered - before;
        registry.tally.messages.fetch_add(delivered as u64, Ordering::Relaxed);
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

    /// Whether a subscriber has given itself this identity.
    #[must_use]
    pub fn has_named(&self, identity: &[u8]) -> bool {
        let mut found = false;
        self.shared.registry.each(|connection| {
            found = found || {
                let state = lock(&connection.state);
                *state.identity == *identity && !state.topics.is_empty()
            };
        });
        found
    }

    /// Publications that wait for slow subscribers, and their bytes.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let mut waiting = (0, 0);
        self.shared.registry.each(|connection| {
            let state = lock(&connection.state);
            waiting = (waiting.0 + state.output.shared(), waiting.1 + state.output.bytes());
        });
        waiting
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

/// Some subscribers.
type Found = Vec<(Id, Arc<Conn>)>;

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.registry.end();
    }
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry<Conn>>,
    topics: Mutex<Topics<Conn>>,
    config: Arc<Config>,
    options: PublisherOptions,
}

/// The part of a connection that publishing sees. Whoever holds the state may write to the socket.
#[derive(Debug)]
struct Conn {
    peer: SocketAddr,
    stream: OnceLock<TcpStream>,
    state: Mutex<State>,
    /// To be closed as soon as its queue is empty.
    leaving: AtomicBool,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: Subscriptions,
    output: Output,
    identity: Box<[u8]>,
    dropped: u64,
    /// Nothing is written any more.
    gone: bool,
}

enum Offer {
    Taken,
    Full,
    Gone,
}

impl Conn {
    fn new(peer: SocketAddr) -> Conn {
        Conn {
            peer,
            stream: OnceLock::new(),
            state: Mutex::default(),
            leaving: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn info(&self) -> SubscriberInfo {
        let state = lock(&self.state);
        SubscriberInfo {
            peer: self.peer,
            identity: state.identity.to_vec(),
            dropped: state.dropped,
        }
    }

    /// Writes a message at once when nothing waits before it, else queues it.
    fn offer(&self, message: &Arc<Encoded>, options: &PublisherOptions) -> Offer {
        let mut state = lock(&self.state);
        let Some(stream) = self.stream.get().filter(|_| !state.gone) else { return Offer::Gone };
        let waiting = state.output.shared();
        // An empty queue takes any message, however long.
        let fits = waiting == 0
            || waiting < options.hwm.max(1)
                && state.output.bytes() + message.len() <= options.hwm_bytes;
        if !fits {
            state.dropped += 1;
            return Offer::Full;
        }
        match state.output.message_now(stream, message) {
            Ok(true) => return Offer::Taken,
            Ok(false) => {}
            Err(_) => {
                // The task of the connection finds the same error and ends it.
                state.dropped += 1;
                state.gone = true;
            }
        }
        let gone = state.gone;
        drop(state);
        self.wake.notify_one();
        if gone { Offer::Gone } else { Offer::Taken }
    }
}

impl Peer for Conn {
    fn wake(&self) {
        self.wake.notify_one();
    }
}
