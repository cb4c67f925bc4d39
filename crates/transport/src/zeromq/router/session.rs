//! One peer that asks: its handshake, its requests within the bounds, the answers to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use saltern_zmtp::Event;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Conn, Reply, Request, Shared};
use crate::zeromq::budget::{CompleteLease, Lease};
use crate::zeromq::counters::CloseReason;
use crate::zeromq::link::{Flow, Link, LinkError};
use crate::zeromq::server::{Ended, Peer, Place, Stage, lock};
use crate::zeromq::timer::Timer;

/// Bytes that a request under way must bring in each span of `stall_timeout`.
const PROGRESS: usize = 256 << 10;
/// Bytes of answers a peer may leave unread before no more requests are read from it.
const UNWRITTEN_MAX: usize = 64 << 10;
/// How long a big request waits for room in the budget, and how often it looks.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);
const ROOM_POLL: Duration = Duration::from_millis(50);

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, place: Place<Conn>, shared: Arc<Shared>) {
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
                shared.greet(connection);
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
