//! One socket with its protocol state: what servers and clients have in common.
//!
//! Bytes are read through one buffer per thread, so an idle connection holds none.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

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

/// One socket with its protocol state.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    connection: Connection,
    queue: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written.
    written: usize,
    /// Bytes in the queue, and those of commands among them.
    unwritten: usize,
    control_bytes: usize,
    /// Read, and not consumed because of a pause.
    leftover: Vec<u8>,
}

impl Link {
    pub(crate) fn new(stream: TcpStream, config: Arc<Config>) -> Link {
        let mut greeting = Vec::with_capacity(saltern_zmtp::GREETING_LEN);
        let connection = Connection::new(config, &mut greeting);
        let mut link = Link {
            stream,
            connection,
            queue: VecDeque::new(),
            written: 0,
            unwritten: 0,
            control_bytes: 0,
            leftover: Vec::new(),
        };
        link.send_control(greeting);
        link
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
        self.queue.is_empty()
    }

    /// Bytes that wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten - self.written
    }

    /// Queues a request or reply: the empty delimiter and the body.
    pub(crate) fn send_enveloped(&mut self, body: Vec<u8>) {
        let mut head = Vec::with_capacity(2 + saltern_zmtp::HEAD_MAX);
        frame_head(&mut head, 0, true);
        frame_head(&mut head, body.len(), false);
        self.push(Chunk::Framed(head, body));
    }

    pub(crate) fn send_shared(&mut self, message: Arc<Encoded>) {
        self.push(Chunk::Shared(message));
    }

    /// Queues commands.
    pub(crate) fn send_control(&mut self, commands: Vec<u8>) {
        if !commands.is_empty() {
            self.control_bytes += commands.len();
            self.push(Chunk::Control(commands));
        }
    }

    fn push(&mut self, chunk: Chunk) {
        self.unwritten += chunk.len();
        self.queue.push_back(chunk);
    }

    /// Waits until the socket can be read (if wanted) or written (if something waits). Waits for
    /// ever when neither is the case.
    pub(crate) async fn ready(&self, read: bool) -> io::Result<Ready> {
        let interest = match (read, !self.is_flushed()) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return std::future::pending().await,
        };
        self.stream.ready(interest).await
    }

    /// Reads once, without waiting, and hands on what it amounts to. Returns the number of bytes.
    pub(crate) fn read(&mut self, on: &mut dyn FnMut(Event) -> Flow) -> Result<usize, LinkError> {
        BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => Err(LinkError::Closed),
            Ok(n) => self.consume(&buffer[..n], on).map(|()| n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(LinkError::from(error)),
        })
    }

    /// Goes on with what a pause left behind.
    pub(crate) fn resume(&mut self, on: &mut dyn FnMut(Event) -> Flow) -> Result<(), LinkError> {
        let leftover = std::mem::take(&mut self.leftover);
        self.consume(&leftover, on)
    }

    fn consume(
        &mut self,
        mut input: &[u8],
        on: &mut dyn FnMut(Event) -> Flow,
    ) -> Result<(), LinkError> {
        let mut control = Vec::new();
        let result = loop {
            match self.connection.receive(&mut input, &mut control) {
                Ok(Some(event)) => {
                    if on(event) == Flow::Pause {
                        self.leftover = input.to_vec();
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(LinkError::Protocol(error)),
            }
        };
        self.send_control(control);
        if self.control_bytes > CONTROL_MAX {
            return Err(LinkError::Protocol(Error::TooLong("answers left unread")));
        }
        result
    }

    /// Writes what the socket takes without waiting. Returns the number of bytes.
    pub(crate) fn flush(&mut self) -> Result<usize, LinkError> {
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
            match self.stream.try_write_vectored(&slices[..used]) {
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
            if let Chunk::Control(bytes) = first {
                self.control_bytes = self.control_bytes.saturating_sub(bytes.len());
            }
            self.queue.pop_front();
        }
        // An idle connection holds no memory for its queue.
        self.queue = VecDeque::new();
    }
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
