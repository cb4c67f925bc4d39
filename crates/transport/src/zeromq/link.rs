//! One socket with its protocol state: what servers and clients have in common.
//!
//! Bytes are read through one buffer per thread, so an idle connection holds none.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use rustix::net::RecvFlags;
use saltern_zmtp::{Config, Connection, Error, Event, frame_head};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

const READ_BUFFER: usize = 64 << 10;
const IOV: usize = 32;
/// Answers (PONG and such) that a peer may leave unread.
const CONTROL_MAX: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// Why a link ended.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The peer closed it.
    Closed,
    Io(io::Error),
    Protocol(Error),
}

/// A message encoded once for many peers.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Everything before the payload: a topic frame, if any, and the payload's head.
    pub(crate) head: Vec<u8>,
    pub(crate) payload: Arc<[u8]>,
}

impl Encoded {
    /// The frames `[topic, payload]`, or `[payload]`.
    pub(crate) fn new(topic: Option<&str>, payload: Arc<[u8]>) -> Arc<Encoded> {
        let mut head = Vec::with_capacity(topic.map_or(0, str::len) + 2 * saltern_zmtp::HEAD_MAX);
        if let Some(topic) = topic {
            frame_head(&mut head, topic.len(), true);
            head.extend_from_slice(topic.as_bytes());
        }
        frame_head(&mut head, payload.len(), false);
        Arc::new(Encoded { head, payload })
    }

    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }
}

/// Something to write that must not be split by something else.
#[derive(Debug)]
enum Chunk {
    Control(Vec<u8>),
    /// Head and body of one message.
    Framed(Vec<u8>, Vec<u8>),
    Shared(Arc<Encoded>),
}

impl Chunk {
    fn slices(&self) -> [&[u8]; 2] {
        match self {
            Chunk::Control(bytes) => [bytes, &[]],
            Chunk::Framed(head, body) => [head, body],
            Chunk::Shared(encoded) => [&encoded.head, &encoded.payload],
        }
    }

    fn len(&self) -> usize {
        self.slices().iter().map(|s| s.len()).sum()
    }
}

/// Whether reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    /// Keep the rest of what was read until [`Link::resume`].
    Pause,
}

/// What waits to be written to one socket, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    queue: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written.
    written: usize,
    /// Bytes in the queue, and those of commands among them.
    unwritten: usize,
    control_bytes: usize,
    /// Messages for many among the chunks.
    shared: usize,
}

impl Output {
    /// Nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that wait to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.unwritten - self.written
    }

    /// Messages for many that are not written to their end.
    pub(crate) fn shared(&self) -> usize {
        self.shared
    }

    /// Queues a request or reply: the empty delimiter and the body.
    pub(crate) fn enveloped(&mut self, body: Vec<u8>) {
        let mut head = Vec::with_capacity(2 + saltern_zmtp::HEAD_MAX);
        frame_head(&mut head, 0, true);
        frame_head(&mut head, body.len(), false);
        self.push(Chunk::Framed(head, body));
    }

    /// Queues commands.
    ///
    /// # Errors
    /// When the peer leaves too many of our answers unread.
    pub(crate) fn control(&mut self, commands: Vec<u8>) -> Result<(), LinkError> {
        if !commands.is_empty() {
            self.push(Chunk::Control(commands));
        }
        if self.control_bytes > CONTROL_MAX {
            return Err(LinkError::Protocol(Error::TooLong("answers left unread")));
        }
        Ok(())
    }

    /// Queues a message for many.
    pub(crate) fn message(&mut self, message: Arc<Encoded>) {
        self.shared += 1;
        self.push(Chunk::Shared(message));
    }

    /// Writes a message for many at once if nothing is before it, and queues what the socket does
    /// not take. Returns whether all of it is written.
    pub(crate) fn message_now(
        &mut self,
        stream: &TcpStream,
        message: &Arc<Encoded>,
    ) -> Result<bool, LinkError> {
        if self.is_empty() {
            let slices = [IoSlice::new(&message.head), IoSlice::new(&message.payload)];
            match stream.try_write_vectored(&slices) {
                Ok(n) if n == message.len() => return Ok(true),
                Ok(n) => self.written = n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(LinkError::from(error)),
            }
        }
        self.message(Arc::clone(message));
        Ok(false)
    }

    fn push(&mut self, chunk: Chunk) {
        self.unwritten += chunk.len();
        if let Chunk::Control(bytes) = &chunk {
            self.control_bytes += bytes.len();
        }
        self.queue.push_back(chunk);
    }

    /// Writes what the socket takes without waiting. Returns the number of bytes.
    pub(crate) fn flush(&mut self, stream: &TcpStream) -> Result<usize, LinkError> {
        let mut total = 0;
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); IOV];
            let mut used = 0;
            let mut skip = self.written;
            for slice in self.queue.iter().flat_map(Chunk::slices) {
                let Some(place) = slices.get_mut(used) else { break };
                let skipped = skip.min(slice.len());
                skip -= skipped;
                if skipped < slice.len() {
                    *place = IoSlice::new(&slice[skipped..]);
                    used += 1;
                }
            }
            match stream.try_write_vectored(&slices[..used]) {
                Ok(n) => {
                    total += n;
                    self.wrote(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(LinkError::from(error)),
            }
        }
        Ok(total)
    }

    fn wrote(&mut self, n: usize) {
        self.written += n;
        while let Some(first) = self.queue.front() {
            let length = first.len();
            if self.written < length {
                return;
            }
            self.written -= length;
            self.unwritten -= length;
            match first {
                Chunk::Control(bytes) => {
                    self.control_bytes = self.control_bytes.saturating_sub(bytes.len());
                }
                Chunk::Shared(_) => self.shared = self.shared.saturating_sub(1),
                Chunk::Framed(..) => {}
            }
            self.queue.pop_front();
        }
        // An idle connection holds no memory for its queue.
        self.queue = VecDeque::new();
    }
}

/// Waits until the socket can be read (if wanted) or written (if wanted). Waits for ever when
/// neither is.
pub(crate) async fn ready(stream: &TcpStream, read: bool, write: bool) -> io::Result<Ready> {
    let interest = match (read, write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return std::future::pending().await,
    };
    stream.ready(interest).await
}

/// Reads once, without waiting, and hands on the bytes (none when there are none now). A read that
/// does not fill the buffer has emptied the socket, so nobody need ask it once more.
pub(crate) fn read_some(
    stream: &TcpStream,
    on: impl FnOnce(&[u8]) -> Result<(), LinkError>,
) -> Result<usize, LinkError> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut got = None;
        let tried = stream.try_io(Interest::READABLE, || {
            let n = rustix::net::recv(stream, &mut buffer[..], RecvFlags::empty())?.0;
            got = Some(n);
            if n > 0 && n < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (got, tried) {
            (Some(0), _) => Err(LinkError::Closed),
            (Some(n), _) => on(&buffer[..n]).map(|()| n),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(error.into()),
            (None, _) => Ok(0),
        }
    })
}

/// One socket with its protocol state.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    connection: Connection,
    output: Output,
    /// Read, and not consumed because of a pause.
    leftover: Vec<u8>,
}

impl Link {
    pub(crate) fn new(stream: TcpStream, config: Arc<Config>) -> Link {
        let mut greeting = Vec::with_capacity(saltern_zmtp::GREETING_LEN);
        let connection = Connection::new(config, &mut greeting);
        let mut output = Output::default();
        output.push(Chunk::Control(greeting));
        Link { stream, connection, output, leftover: Vec::new() }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Memory held for what the peer sent.
    pub(crate) fn held(&self) -> usize {
        self.connection.held() + self.leftover.capacity()
    }

    pub(crate) fn has_leftover(&self) -> bool {
        !self.leftover.is_empty()
    }

    /// Nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty()
    }

    /// Bytes that wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.bytes()
    }

    /// Queues a request or reply: the empty delimiter and the body.
    pub(crate) fn send_enveloped(&mut self, body: Vec<u8>) {
        self.output.enveloped(body);
    }

    /// Queues commands of our own.
    pub(crate) fn send_control(&mut self, commands: Vec<u8>) {
        if !commands.is_empty() {
            self.output.push(Chunk::Control(commands));
        }
    }

    /// Waits until the socket can be read (if wanted) or written (if something waits). Waits for
    /// ever when neither is the case.
    pub(crate) async fn ready(&self, read: bool) -> io::Result<Ready> {
        ready(&self.stream, read, !self.is_flushed()).await
    }

    /// Reads once, without waiting, and hands on what it amounts to. Returns the number of bytes.
    pub(crate) fn read(&mut self, on: &mut dyn FnMut(Event) -> Flow) -> Result<usize, LinkError> {
        let Link { stream, connection, output, leftover } = self;
        read_some(stream, |bytes| consume(connection, output, leftover, bytes, on))
    }

    /// Goes on with what a pause left behind.
    pub(crate) fn resume(&mut self, on: &mut dyn FnMut(Event) -> Flow) -> Result<(), LinkError> {
        let bytes = std::mem::take(&mut self.leftover);
        consume(&mut self.connection, &mut self.output, &mut self.leftover, &bytes, on)
    }

    /// Writes what the socket takes without waiting. Returns the number of bytes.
    pub(crate) fn flush(&mut self) -> Result<usize, LinkError> {
        self.output.flush(&self.stream)
    }
}

fn consume(
    connection: &mut Connection,
    output: &mut Output,
    leftover: &mut Vec<u8>,
    mut input: &[u8],
    on: &mut dyn FnMut(Event) -> Flow,
) -> Result<(), LinkError> {
    let mut control = Vec::new();
    let result = loop {
        match connection.receive(&mut input, &mut control) {
            Ok(Some(event)) => {
                if on(event) == Flow::Pause {
                    *leftover = input.to_vec();
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(LinkError::Protocol(error)),
        }
    };
    output.control(control).and(result)
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof => LinkError::Closed,
            _ => LinkError::Io(error),
        }
    }
}
