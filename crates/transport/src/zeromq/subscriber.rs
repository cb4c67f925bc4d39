//! The subscribe client of a minion (SUB): one connection, watched by heartbeats.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use saltern_zmtp::{Config, Event, Limits, SocketType, encode_ping};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::{self, Failure};
use super::link::{Flow, Link, LinkError};
use crate::net::{ConnectError, ConnectOptions};

/// When to ask a peer for a sign of life, and when to give it up. Peers of ZMTP 3.0 do not know the
/// question and are left to TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Time between ZMTP PINGs. A [`super::Publisher`] asks only peers that were silent as long.
    pub interval: Duration,
    /// Time after a PING in which anything must arrive.
    pub timeout: Duration,
}

/// Bounds and settings of a [`Subscriber`].
#[derive(Clone, Debug)]
pub struct SubscriberOptions {
    /// How the connection is made.
    pub connect: ConnectOptions,
    /// Time for resolving, connecting and the handshake together.
    pub timeout: Duration,
    /// The identity given to the peer (the minion id), at most 255 bytes; empty for none.
    pub identity: Vec<u8>,
    /// Watches the connection; `None` leaves it to TCP.
    pub heartbeat: Option<Heartbeat>,
    /// Bytes of one message.
    pub max_message: usize,
    /// Messages received and not yet taken; then the socket is not read any more.
    pub queue: usize,
}

impl Default for SubscriberOptions {
    fn default() -> Self {
        SubscriberOptions {
            connect: ConnectOptions::default(),
            timeout: Duration::from_secs(5),
            identity: Vec::new(),
            heartbeat: Some(Heartbeat {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(10),
            }),
            max_message: 100 << 20,
            queue: 1000,
        }
    }
}

/// Why there is no subscription (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The name does not resolve.
    Resolve(String),
    /// Nothing listens there.
    Refused,
    /// The address cannot be reached.
    Unreachable(String),
    /// Connecting or the handshake took too long.
    Timeout,
    /// The peer closed the connection, or it broke.
    Closed,
    /// The peer did not answer a heartbeat in time.
    Silent,
    /// The peer does not speak the protocol, or sent too long a message.
    Protocol(String),
}

/// The subscription is lost; the [`Subscriber`] is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Why.
    pub reason: LostReason,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            LostReason::Resolve(why) => write!(f, "the name does not resolve: {why}"),
            LostReason::Refused => f.write_str("the connection is refused"),
            LostReason::Unreachable(why) => write!(f, "the address is out of reach: {why}"),
            LostReason::Timeout => f.write_str("the connection could not be made in time"),
            LostReason::Closed => f.write_str("the connection was closed"),
            LostReason::Silent => f.write_str("the peer does not answer heartbeats"),
            LostReason::Protocol(why) => write!(f, "the peer breaks the protocol: {why}"),
        }
    }
}

impl std::error::Error for Lost {}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        let reason = match failure {
            Failure::Connect(ConnectError::Resolve(why)) => LostReason::Resolve(why),
            Failure::Connect(ConnectError::Refused) => LostReason::Refused,
            Failure::Connect(ConnectError::Timeout) | Failure::Timeout => LostReason::Timeout,
            Failure::Connect(ConnectError::Unreachable(why)) | Failure::Unreachable(why) => {
                LostReason::Unreachable(why)
            }
            Failure::Closed => LostReason::Closed,
            Failure::Protocol(why) => LostReason::Protocol(why),
        };
        Lost { reason }
    }
}

type Frames = Vec<Vec<u8>>;

/// The peer's signs of life: anything that arrives over a subscription, and a way to ask for one.
/// Its owner judges the silence; the subscription itself goes on. Clones share the subscription.
#[derive(Clone, Debug)]
pub struct Pulse {
    ask: Arc<Notify>,
    signs: watch::Receiver<u64>,
}

impl Pulse {
    /// Sends a ZMTP PING, which every peer of ZMTP 3.1 answers. Its TTL is 0: the peer is not told
    /// to give us up when we are late ourselves. Of a peer that does not know the question a sign
    /// is made up at once: such a peer is left to TCP.
    pub fn ping(&self) {
        self.ask.notify_one();
    }

    /// Waits for the next sign; several at a time count as one. `false` when the subscription has
    /// ended and no more will come. Cancellation-safe.
    pub async fn sign(&mut self) -> bool {
        self.signs.changed().await.is_ok()
    }
}

/// One subscription. A task of its own reads the socket and answers heartbeats, also while
/// nobody waits in [`Subscriber::next`]; dropping the subscriber ends it.
#[derive(Debug)]
pub struct Subscriber {
    messages: mpsc::Receiver<Result<Frames, Lost>>,
    lost: Option<Lost>,
    peer: SocketAddr,
    /// Microseconds plus one; 0 before the first PONG.
    latency: Arc<AtomicU64>,
    pulse: Pulse,
    task: AbortHandle,
}

impl Subscriber {
    /// Connects to `address` (`host:port` or `[v6]:port`), shakes hands and subscribes to every
    /// topic prefix in `topics` (an empty one takes everything).
    ///
    /// # Errors
    /// Why it could not be done within `options.timeout`.
    pub async fn connect(
        address: &str,
        options: SubscriberOptions,
        topics: &[&[u8]],
    ) -> Result<Subscriber, Lost> {
        let deadline = Instant::now() + options.timeout;
        let config = Arc::new(Config {
            socket_type: SocketType::Sub,
            identity: options.identity,
            limits: Limits::messages_of(options.max_message),
        });
        let opening = client::open(address, &options.connect, config, deadline);
        let (mut link, peer) =
            timeout_at(deadline, opening).await.unwrap_or(Err(Failure::Timeout))?;
        let mut commands = Vec::new();
        for topic in topics {
            link.connection().encode_subscribe(&mut commands, topic);
        }
        link.send_control(commands);
        link.flush().map_err(Failure::from)?;
        let (sender, messages) = mpsc::channel(options.queue.max(1));
        let latency = Arc::new(AtomicU64::new(0));
        let ask = Arc::new(Notify::new());
        let (signs, seen) = watch::channel(0);
        let pulse = Pulse { ask: ask.clone(), signs: seen };
        let reader = Reader {
            link,
            waiting: VecDeque::new(),
            heartbeat: options.heartbeat,
            next_ping: options.heartbeat.map(|heartbeat| Instant::now() + heartbeat.interval),
            pinged: None,
            ping_sent: Instant::now(),
            serial: 0,
            latency: latency.clone(),
            ask,
            signs,
        };
        let task = tokio::spawn(reader.run(sender)).abort_handle();
        Ok(Subscriber { messages, lost: None, peer, latency, pulse, task })
    }

    /// The next message, as frames. Messages that arrived before a loss come first. After the
    /// loss every call returns it again. Cancellation-safe.
    ///
    /// # Errors
    /// Why the connection is lost, at once.
    pub async fn next(&mut self) -> Result<Vec<Vec<u8>>, Lost> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        let received = self.messages.recv().await;
        let lost = match received {
            Some(Ok(frames)) => return Ok(frames),
            Some(Err(lost)) => lost,
            None => Lost { reason: LostReason::Closed },
        };
        self.lost = Some(lost.clone());
        Err(lost)
    }

    /// The address connected to.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The peer's signs of life from now on.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Time from the last PING to its PONG; `None` before the first.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let micros = self.latency.load(Ordering::Relaxed);
        micros.checked_sub(1).map(Duration::from_micros)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task behind a subscription.
struct Reader {
    link: Link,
    /// Received in one read and not yet handed on.
    waiting: VecDeque<Frames>,
    heartbeat: Option<Heartbeat>,
    next_ping: Option<Instant>,
    /// The PING that waits for a sign of life.
    pinged: Option<Instant>,
    /// When the last PING was sent, answered or not.
    ping_sent: Instant,
    /// Number of the last PING: its context.
    serial: u32,
    latency: Arc<AtomicU64>,
    /// Somebody wants a PING.
    ask: Arc<Notify>,
    signs: watch::Sender<u64>,
}

impl Reader {
    async fn run(mut self, sender: mpsc::Sender<Result<Frames, Lost>>) {
        let lost = loop {
            while let Some(message) = self.waiting.pop_front() {
                let full = sender.capacity() == 0;
                let Some(permit) = self.room(&sender).await else { return };
                permit.send(Ok(message));
                if full {
                    // While we did not read, the peer could not be heard.
                    self.heard();
                }
            }
            self.waiting = VecDeque::new();
            if let Err(reason) = self.step().await {
                break Lost { reason };
            }
        };
        log::debug!("subscription lost: {lost}");
        for message in self.waiting {
            if sender.send(Ok(message)).await.is_err() {
                return;
            }
        }
        // An error means that nobody listens any more.
        let _ = sender.send(Err(lost)).await;
    }

    /// Waits for room for one message. Meanwhile the peer cannot be heard, because we do not read:
    /// it is not to blame for its silence.
    async fn room<'a>(
        &mut self,
        sender: &'a mpsc::Sender<Result<Frames, Lost>>,
    ) -> Option<mpsc::Permit<'a, Result<Frames, Lost>>> {
        loop {
            tokio::select! {
                permit = sender.reserve() => return permit.ok(),
                () = self.ask.notified() => self.heard(),
            }
        }
    }

    async fn step(&mut self) -> Result<(), LostReason> {
        let failed = |error: LinkError| Lost::from(Failure::from(error)).reason;
        self.link.flush().map_err(failed)?;
        let deadline = self.deadline();
        let timer = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.link.ready(true) => {
                let ready = ready.map_err(|error| failed(error.into()))?;
                if ready.is_readable() || ready.is_read_closed() {
                    self.read().map_err(failed)?;
                }
                Ok(())
            }
            () = timer => self.on_deadline(),
            () = self.ask.notified() => {
                if self.link.connection().peer_answers_pings() {
                    self.ping();
                } else {
                    self.heard();
                }
                Ok(())
            }
        }
    }

    fn read(&mut self) -> Result<(), LinkError> {
        let mut pong = None;
        let waiting = &mut self.waiting;
        let read = self.link.read(&mut |event| {
            match event {
                Event::Message(frames) => waiting.push_back(frames),
                Event::Pong(context) => pong = Some(context),
                Event::Ready(_) | Event::Subscribe(_) | Event::Cancel(_) => {}
            }
            Flow::Continue
        })?;
        if pong.is_some_and(|context| context == self.serial.to_be_bytes()) {
            let micros =
                u64::try_from(self.ping_sent.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
            self.latency.store(micros + 1, Ordering::Relaxed);
        }
        if read > 0 {
            self.heard();
        }
        Ok(())
    }

    /// The peer gave a sign of life.
    fn heard(&mut self) {
        self.pinged = None;
        self.signs.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn deadline(&self) -> Option<Instant> {
        let heartbeat = self.heartbeat?;
        if !self.link.connection().peer_answers_pings() {
            return None;
        }
        match self.pinged {
            Some(pinged) => Some(pinged + heartbeat.timeout),
            None => self.next_ping,
        }
    }

    fn on_deadline(&mut self) -> Result<(), LostReason> {
        let Some(heartbeat) = self.heartbeat else { return Ok(()) };
        if self.pinged.is_some() {
            return Err(LostReason::Silent);
        }
        self.ping();
        self.pinged = Some(self.ping_sent);
        self.next_ping = Some(self.ping_sent + heartbeat.interval);
        Ok(())
    }

    fn ping(&mut self) {
        self.serial = self.serial.wrapping_add(1);
        let mut ping = Vec::with_capacity(16);
        // No TTL: it would tell the master to drop us when we are late ourselves, on a busy
        // machine for example, and a whole fleet would sign in anew at once.
        encode_ping(&mut ping, 0, &self.serial.to_be_bytes());
        self.link.send_control(ping);
        self.ping_sent = Instant::now();
    }
}
