//! One subscriber: its handshake, its subscriptions, what leaves its queue, its heartbeats.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use saltern_zmtp::{Connection, Error, Event, encode_ping};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Conn, Shared};
use crate::zeromq::counters::CloseReason;
use crate::zeromq::link::{LinkError, read_some, ready};
use crate::zeromq::server::{Ended, Id, Place, Stage, lock};
use crate::zeromq::timer::Timer;

/// Heartbeats a publisher sends in a second, to all peers that are silent: with more peers each is
/// asked less often, so that a large idle fleet costs no more than this.
const HEARTBEATS_A_SECOND: u32 = 100;

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, place: Place<Conn>, shared: Arc<Shared>) {
    let connection = &place.connection;
    let stream = connection.stream.get_or_init(|| stream);
    let mut greeting = Vec::with_capacity(saltern_zmtp::GREETING_LEN);
    let protocol = Connection::new(shared.config.clone(), &mut greeting);
    let mut session = Session {
        protocol,
        stream,
        last_sign: Instant::now(),
        pinged: None,
        blocked: None,
        id: place.id,
        connection,
        shared: &shared,
    };
    let Ended(reason, detail) = match session.queue(greeting) {
        Ok(()) => session.run().await,
        Err(ended) => ended,
    };
    let (topics, unsent) = {
        let mut state = lock(&connection.state);
        state.gone = true;
        let output = std::mem::take(&mut state.output);
        (std::mem::take(&mut state.topics), output.shared())
    };
    {
        let mut index = lock(&shared.topics);
        topics.iter().for_each(|topic| index.remove(topic, place.id));
    }
    let tally = &shared.registry.tally;
    if unsent > 0 {
        tally.dropped(unsent, place.peer, "it is gone");
    }
    tally.close(reason, place.peer, &detail);
}

struct Session<'a> {
    protocol: Connection,
    stream: &'a TcpStream,
    /// When the peer last gave a sign of life; until the handshake, when it connected.
    last_sign: Instant,
    /// When the PING was sent that waits for a sign of life.
    pinged: Option<Instant>,
    /// Since when the socket is full and takes no bytes.
    blocked: Option<Instant>,
    id: Id,
    connection: &'a Arc<Conn>,
    shared: &'a Shared,
}

impl Session<'_> {
    async fn run(&mut self) -> Ended {
        let mut timer = Timer::default();
        loop {
            if let Err(ended) = self.step(&mut timer).await {
                // Best effort: the reason of a refused handshake is worth a try.
                let _ = lock(&self.connection.state).output.flush(self.stream);
                return ended;
            }
        }
    }

    /// Does what can be done now, then waits for something to happen.
    async fn step(&mut self, timer: &mut Timer) -> Result<(), Ended> {
        self.write()?;
        let stage = self.shared.registry.stage();
        let leaving = stage == Stage::Draining || self.connection.leaving.load(Ordering::Acquire);
        if stage == Stage::Ended || leaving && self.blocked.is_none() {
            return Err(CloseReason::Shutdown.into());
        }
        let deadline = self.deadline();
        tokio::select! {
            biased;
            () = self.connection.wake.notified() => Ok(()),
            ready = ready(self.stream, true, self.blocked.is_some()) => {
                let ready = ready.map_err(LinkError::from)?;
                if ready.is_readable() || ready.is_read_closed() {
                    self.read()?;
                }
                Ok(())
            }
            () = timer.wait(deadline) => self.on_deadline(),
        }
    }

    /// Writes until nothing waits or the socket is full.
    fn write(&mut self) -> Result<(), Ended> {
        let mut state = lock(&self.connection.state);
        if state.gone {
            return Err(CloseReason::Peer.into());
        }
        let wrote = state.output.flush(self.stream)?;
        let blocked = !state.output.is_empty();
        drop(state);
        if self.blocked.is_some() && wrote > 0 && self.protocol.is_open() {
            // It takes bytes it was slow to take: that is a sign of life too, and its answer
            // to a PING may stand behind many of them.
            self.alive();
        }
        self.blocked = match self.blocked {
            _ if !blocked => None,
            Some(since) if wrote == 0 => Some(since),
            _ => Some(Instant::now()),
        };
        Ok(())
    }

    fn alive(&mut self) {
        self.last_sign = Instant::now();
        self.pinged = None;
    }

    fn deadline(&self) -> Option<Instant> {
        let options = &self.shared.options;
        if !self.protocol.is_open() {
            return Some(self.last_sign + options.handshake_timeout);
        }
        let stalled = self.stalled();
        let heartbeat = options.heartbeat.filter(|_| self.protocol.peer_answers_pings());
        let silent = heartbeat.map(|heartbeat| match self.pinged {
            Some(pinged) => pinged + heartbeat.timeout,
            None => self.last_sign + heartbeat.interval.max(self.least_interval()),
        });
        stalled.into_iter().chain(silent).min()
    }

    /// When it is given up because it takes nothing of what waits for it.
    fn stalled(&self) -> Option<Instant> {
        self.blocked.map(|since| since + self.shared.options.stall_timeout)
    }

    /// Time between heartbeats to one peer by which those to all are not too many.
    fn least_interval(&self) -> Duration {
        let peers = u32::try_from(self.shared.registry.open()).unwrap_or(u32::MAX);
        Duration::from_secs(1).saturating_mul(peers) / HEARTBEATS_A_SECOND
    }

    fn on_deadline(&mut self) -> Result<(), Ended> {
        if self.deadline().is_none_or(|deadline| Instant::now() < deadline) {
            return Ok(());
        }
        if !self.protocol.is_open() {
            return Err(CloseReason::HandshakeTimeout.into());
        }
        if self.stalled().is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Ended(CloseReason::Stalled, "it does not read publications".into()));
        }
        if self.pinged.is_some() {
            return Err(CloseReason::Silent.into());
        }
        let mut ping = Vec::with_capacity(16);
        // No TTL: a busy master must not make its minions leave.
        encode_ping(&mut ping, 0, &[]);
        self.queue(ping)?;
        self.pinged = Some(Instant::now());
        Ok(())
    }

    fn queue(&self, commands: Vec<u8>) -> Result<(), Ended> {
        Ok(lock(&self.connection.state).output.control(commands)?)
    }

    fn read(&mut self) -> Result<(), Ended> {
        let mut control = Vec::new();
        let Session { protocol, stream, connection, shared, id, .. } = self;
        let mut opened = false;
        let read = read_some(stream, |mut input| {
            while let Some(event) =
                protocol.receive(&mut input, &mut control).map_err(LinkError::Protocol)?
            {
                match event {
                    Event::Ready(peer) => {
                        lock(&connection.state).identity = peer.identity.into_boxed_slice();
                        opened = true;
                    }
                    Event::Subscribe(topic) => shared.subscribe(&topic, *id, connection)?,
                    Event::Cancel(topic) => shared.cancel(&topic, *id, connection),
                    Event::Message(_) | Event::Pong(_) => {}
                }
            }
            Ok(())
        });
        self.queue(control)?;
        if read? > 0 && (opened || self.protocol.is_open()) {
            self.alive();
        }
        Ok(())
    }
}

impl Shared {
    fn subscribe(&self, topic: &[u8], id: Id, connection: &Arc<Conn>) -> Result<(), LinkError> {
        let added = lock(&connection.state).topics.subscribe(topic, self.options.max_subscriptions);
        added.map_err(|_| LinkError::Protocol(Error::TooLong("list of subscriptions")))?;
        lock(&self.topics).add(topic, id, connection);
        Ok(())
    }

    fn cancel(&self, topic: &[u8], id: Id, connection: &Arc<Conn>) {
        lock(&connection.state).topics.cancel(topic);
        lock(&self.topics).remove(topic, id);
    }
}
