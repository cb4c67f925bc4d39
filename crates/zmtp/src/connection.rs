//! One connection as a state machine: feed it the peer's bytes, send what it puts into `out`.

use std::sync::Arc;

use crate::command::{self, Command};
use crate::error::Error;
use crate::frame::{self, Head};
use crate::greeting::{self, GREETING_LEN};
use crate::limits::Limits;

/// A socket type of ZeroMQ, as far as Salt's sockets meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    /// Asks, one request at a time.
    Req,
    /// Answers.
    Rep,
    /// Asks or answers without waiting.
    Dealer,
    /// Answers many.
    Router,
    /// Publishes.
    Pub,
    /// Publishes and sees subscriptions.
    Xpub,
    /// Subscribes.
    Sub,
    /// Subscribes by messages.
    Xsub,
}

impl SocketType {
    /// Its name in READY.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SocketType::Req => "REQ",
            SocketType::Rep => "REP",
            SocketType::Dealer => "DEALER",
            SocketType::Router => "ROUTER",
            SocketType::Pub => "PUB",
            SocketType::Xpub => "XPUB",
            SocketType::Sub => "SUB",
            SocketType::Xsub => "XSUB",
        }
    }

    pub(crate) fn parse(name: &[u8]) -> Option<SocketType> {
        use SocketType::{Dealer, Pub, Rep, Req, Router, Sub, Xpub, Xsub};
        [Req, Rep, Dealer, Router, Pub, Xpub, Sub, Xsub]
            .into_iter()
            .find(|t| t.name().as_bytes() == name)
    }

    /// Whether a socket of this type may talk to one of type `peer`. ROUTER to ROUTER is left out:
    /// Salt has no use for it.
    #[must_use]
    pub const fn accepts(self, peer: SocketType) -> bool {
        use SocketType::{Dealer, Pub, Rep, Req, Router, Sub, Xpub, Xsub};
        matches!(
            (self, peer),
            (Req, Rep | Router)
                | (Rep | Router, Req | Dealer)
                | (Dealer, Rep | Router)
                | (Pub | Xpub, Sub | Xsub)
                | (Sub | Xsub, Pub | Xpub)
        )
    }

    const fn takes_subscriptions(self) -> bool {
        matches!(self, SocketType::Pub | SocketType::Xpub)
    }
}

/// What all connections of one socket have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our socket type.
    pub socket_type: SocketType,
    /// Our identity, at most 255 bytes; empty for none.
    pub identity: Vec<u8>,
    /// Bounds on the peer.
    pub limits: Limits,
}

/// What the handshake told about the peer. None of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its socket type, one that ours accepts.
    pub socket_type: SocketType,
    /// The identity it gives itself; empty for none.
    pub identity: Vec<u8>,
    /// Its minor version, 0 or 1.
    pub minor: u8,
}

/// What the peer's bytes amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done.
    Ready(Peer),
    /// A message, as its frames.
    Message(Vec<Vec<u8>>),
    /// The peer wants messages whose first frame begins like this (publishers only).
    Subscribe(Vec<u8>),
    /// It no longer wants them (publishers only).
    Cancel(Vec<u8>),
    /// The answer to a PING, with the PING's context.
    Pong(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    /// The greeting is there, READY is not.
    Handshake,
    Open,
    Failed,
}

/// One connection. About 150 bytes while nothing is under way.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    phase: Phase,
    minor: u8,
    /// The head of the frame under way, once complete.
    head: Option<Head>,
    /// Bytes of the greeting, the frame head or the frame body under way.
    partial: Vec<u8>,
    /// Finished frames of the message under way.
    parts: Vec<Vec<u8>>,
    parts_bytes: usize,
}

impl Connection {
    /// A new connection; puts the greeting into `out`.
    #[must_use]
    pub fn new(config: Arc<Config>, out: &mut Vec<u8>) -> Connection {
        greeting::encode(out);
        Connection {
            config,
            phase: Phase::Greeting,
            minor: 0,
            head: None,
            partial: Vec::new(),
            parts: Vec::new(),
            parts_bytes: 0,
        }
    }

    /// Whether the handshake is done.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Bytes of memory held for a message (or handshake) under way.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.capacity() + self.parts_bytes
    }

    /// Consumes bytes of the peer from the front of `input` up to the next event. `Ok(None)` means
    /// that all of `input` was consumed. Bytes to send (READY, PONG, ERROR) are appended to `out`,
    /// also when an error is returned.
    ///
    /// # Errors
    /// The connection cannot go on; every later call fails too.
    pub fn receive(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Error> {
        let result = self.advance(input, out);
        if let Err(error) = &result {
            if self.phase == Phase::Handshake && !matches!(error, Error::Refused(_)) {
                command::encode_error(out, "handshake refused");
            }
            self.phase = Phase::Failed;
            self.partial = Vec::new();
            self.parts = Vec::new();
            self.parts_bytes = 0;
        }
        result
    }

    /// Appends a subscription, in the form the peer's version understands.
    pub fn encode_subscribe(&self, out: &mut Vec<u8>, prefix: &[u8]) {
        if self.minor >= 1 {
            frame::encode_command(out, "SUBSCRIBE", prefix);
        } else {
            frame::frame_head(out, 1 + prefix.len(), false);
            out.push(1);
            out.extend_from_slice(prefix);
        }
    }

    /// Whether the peer knows PING (version 3.1).
    #[must_use]
    pub fn peer_answers_pings(&self) -> bool {
        self.minor >= 1
    }

    fn advance(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Event>, Error> {
        match self.phase {
            Phase::Greeting => {
                if !self.take_greeting(input, out)? {
                    return Ok(None);
                }
            }
            Phase::Failed => return Err(Error::Malformed("connection, which failed before")),
            Phase::Handshake | Phase::Open => {}
        }
        while let Some(head) = self.take_head(input)? {
            // `take_head` compared the length with a limit, so it fits.
            let length = head.length as usize;
            let Some(body) = self.take_body(input, length) else { return Ok(None) };
            self.head = None;
            let event = if head.command {
                self.on_command(&body, out)?
            } else {
                self.on_frame(body, head.more)?
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn take_greeting(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        let missing = GREETING_LEN - self.partial.len().min(GREETING_LEN);
        self.partial.extend_from_slice(split(input, missing));
        let Some(minor) = greeting::parse(&self.partial)? else { return Ok(false) };
        self.minor = minor;
        self.partial = Vec::new();
        self.phase = Phase::Handshake;
        command::encode_ready(out, self.config.socket_type, &self.config.identity);
        Ok(true)
    }

    /// The head of the frame under way; `None` when `input` does not complete it.
    fn take_head(&mut self, input: &mut &[u8]) -> Result<Option<Head>, Error> {
        while self.head.is_none() {
            let (found, used) = if self.partial.is_empty() {
                let found = frame::parse_head(input)?;
                (found, found.map_or(input.len(), |(_, length)| length))
            } else {
                // A head cut in two is rare: byte by byte is good enough.
                self.partial.extend_from_slice(split(input, 1));
                (frame::parse_head(&self.partial)?, 0)
            };
            match found {
                Some((head, _)) => {
                    split(input, used);
                    self.partial = Vec::new();
                    self.check(&head)?;
                    self.head = Some(head);
                }
                None if self.partial.is_empty() => {
                    self.partial.extend_from_slice(split(input, used));
                    return Ok(None);
                }
                None if input.is_empty() => return Ok(None),
                None => {}
            }
        }
        Ok(self.head)
    }

    fn check(&self, head: &Head) -> Result<(), Error> {
        let limits = &self.config.limits;
        if head.command {
            return fits(head.length, limits.command, "command");
        }
        if self.phase != Phase::Open {
            return Err(Error::Malformed("message before the handshake"));
        }
        // One more byte: a 3.0 peer's subscription has its \x01 in front.
        let limit = limits.message.saturating_add(1);
        fits(head.length, limit.saturating_sub(self.parts_bytes), "message")?;
        if self.parts.len() >= limits.parts {
            return Err(Error::TooLong("number of frames"));
        }
        Ok(())
    }

    /// The body of the frame under way; `None` when `input` does not complete it.
    fn take_body(&mut self, input: &mut &[u8], length: usize) -> Option<Vec<u8>> {
        if self.partial.is_empty() && input.len() >= length {
            return Some(split(input, length).to_vec());
        }
        let arrived = split(input, length.saturating_sub(self.partial.len()));
        let need = self.partial.len() + arrived.len();
        if need > self.partial.capacity() {
            // Memory follows what arrived: at most twice that, and never more than was announced. A
            // frame of which half is there has its whole room and is not moved again.
            let target = need.saturating_mul(2).min(length);
            self.partial.reserve_exact(target - self.partial.len());
        }
        self.partial.extend_from_slice(arrived);
        (self.partial.len() == length).then(|| std::mem::take(&mut self.partial))
    }

    fn on_frame(&mut self, body: Vec<u8>, more: bool) -> Result<Option<Event>, Error> {
        if self.config.socket_type.takes_subscriptions() {
            return Ok(match body.split_first() {
                Some((1, prefix)) if !more => Some(Event::Subscribe(prefix.to_vec())),
                Some((0, prefix)) if !more => Some(Event::Cancel(prefix.to_vec())),
                _ => return Err(Error::Malformed("message to a publisher")),
            });
        }
        self.parts_bytes += body.len();
        self.parts.push(body);
        if more {
            return Ok(None);
        }
        self.parts_bytes = 0;
        Ok(Some(Event::Message(std::mem::take(&mut self.parts))))
    }

    fn on_command(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Option<Event>, Error> {
        let command = command::parse(body)?;
        if self.phase == Phase::Handshake {
            return match command {
                Command::Ready(metadata) => self.on_ready(metadata).map(Some),
                Command::Error(why) => Err(Error::Refused(why)),
                _ => Err(Error::Malformed("command before the handshake")),
            };
        }
        let publisher = self.config.socket_type.takes_subscriptions();
        Ok(match command {
            Command::Ready(_) => return Err(Error::Malformed("second READY")),
            Command::Error(why) => return Err(Error::Refused(why)),
            Command::Subscribe(prefix) if publisher => Some(Event::Subscribe(prefix.to_vec())),
            Command::Cancel(prefix) if publisher => Some(Event::Cancel(prefix.to_vec())),
            Command::Subscribe(_) | Command::Cancel(_) => {
                return Err(Error::Malformed("subscription to a socket that publishes nothing"));
            }
            Command::Ping(context) => {
                command::encode_pong(out, context);
                None
            }
            Command::Pong(context) => Some(Event::Pong(context.to_vec())),
            Command::Unknown => None,
        })
    }

    fn on_ready(&mut self, metadata: &[u8]) -> Result<Event, Error> {
        let peer = command::parse_ready(metadata, self.minor)?;
        if !self.config.socket_type.accepts(peer.socket_type) {
            return Err(Error::WrongType(peer.socket_type.name().to_owned()));
        }
        self.phase = Phase::Open;
        Ok(Event::Ready(peer))
    }
}

/// Takes up to `n` bytes from the front.
fn split<'a>(input: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(n.min(input.len()));
    *input = rest;
    taken
}

fn fits(length: u64, limit: usize, what: &'static str) -> Result<(), Error> {
    match usize::try_from(length) {
        Ok(length) if length <= limit => Ok(()),
        _ => Err(Error::TooLong(what)),
    }
}
