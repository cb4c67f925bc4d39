//! The sockets of a master's event bus, used with as little work as possible, so that what is
//! measured is the master: listeners that only count, and a source of events.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Master, Peer};

/// A byte that is nowhere else in an event: text in UTF-8 has none, and MessagePack only for the
/// number -1. One per event, so counting it counts events, whatever the framing.
const MARK: u8 = 0xff;
/// Events fired between two looks at the listeners.
const PIECE: usize = 64;

fn connect(master: &Master, name: &str) -> UnixStream {
    let path = master.root().join("s").join(name);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match UnixStream::connect(&path) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < end, "{}: {error}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A listener that waits for text to go by.
pub struct Listener(UnixStream);

impl Listener {
    pub fn new(master: &Master) -> Self {
        Listener(connect(master, "master_event_pub.ipc"))
    }

    /// Whether `text` came within `limit`.
    pub fn hears(&mut self, text: &str, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let (mut seen, mut buffer) = (Vec::new(), [0; 65536]);
        self.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        while Instant::now() < end {
            match self.0.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => seen.extend_from_slice(&buffer[..length]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
            if seen.windows(text.len()).any(|window| window == text.as_bytes()) {
                return true;
            }
            // What may be the begin of the text stays.
            let keep = seen.len().saturating_sub(text.len());
            seen.drain(..keep);
        }
        false
    }
}

/// Listeners and a source.
pub struct Bus {
    listeners: Vec<UnixStream>,
    /// Marks and bytes each of them has got.
    got: Vec<(usize, usize)>,
    bytes: usize,
    source: UnixStream,
    event: Vec<u8>,
}

impl Bus {
    /// `bytes` of data in each event.
    pub fn new(master: &Master, listeners: usize, bytes: usize) -> Self {
        let listeners: Vec<UnixStream> =
            (0..listeners).map(|_| connect(master, "master_event_pub.ipc")).collect();
        listeners.iter().for_each(|s| s.set_nonblocking(true).unwrap());
        let source = connect(master, "master_event_pull.ipc");
        let event = event(master.peer, bytes);
        Bus { got: vec![(0, 0); listeners.len()], listeners, bytes, source, event }
    }

    /// Fires `events`, at most `ahead` more than the slowest listener has; how many that one got
    /// within `limit` seconds.
    pub fn run(&mut self, events: usize, ahead: usize, limit: f64) -> usize {
        self.got.fill((0, 0));
        let end = Instant::now() + Duration::from_secs_f64(limit);
        let mut fired = 0;
        loop {
            let slowest = self.slowest();
            if slowest >= events || Instant::now() > end {
                return slowest.min(events);
            }
            let room = (slowest + ahead).min(events).saturating_sub(fired);
            for _ in 0..room.min(PIECE) {
                if self.source.write_all(&self.event).is_err() {
                    return slowest;
                }
                fired += 1;
            }
            if !self.read(if room > PIECE { 0 } else { 100 }) {
                return self.slowest();
            }
        }
    }

    /// Waits until every listener is served: a socket that is connected may not be known yet.
    pub fn warm(&mut self) -> bool {
        (0..50).any(|_| self.run(1, 1, 0.5) == 1)
    }

    /// Events that every listener has got: as many as it has marks, and bytes enough for them.
    fn slowest(&self) -> usize {
        let events = self.got.iter().map(|(marks, bytes)| *marks.min(&(bytes / self.bytes)));
        events.min().unwrap_or_default()
    }

    /// Reads what is there; `false` when a listener was dropped.
    fn read(&mut self, milliseconds: u8) -> bool {
        let mut waiting: Vec<PollFd> =
            self.listeners.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut waiting, PollTimeout::from(milliseconds)).unwrap_or_default() == 0 {
            return true;
        }
        let ready: Vec<bool> = waiting.iter().map(|fd| fd.any().unwrap_or_default()).collect();
        let mut buffer = [0; 1 << 16];
        for (place, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            match self.listeners[place].read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    let marks = buffer[..length].iter().filter(|byte| **byte == MARK).count();
                    self.got[place].0 += marks;
                    self.got[place].1 += length;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// An event as a tool pushes it: `{"head": {}, "body": TAG LF LF DATA}` in MessagePack, in newer
/// Salts behind its length in four bytes.
fn event(peer: Peer, bytes: usize) -> Vec<u8> {
    let stamp = "2026-01-01T00:00:00.000000";
    let mut body = b"bench/event\n\n\x82\xa6_stamp".to_vec();
    body.push(0xa0 | stamp.len() as u8);
    body.extend_from_slice(stamp.as_bytes());
    body.extend_from_slice(b"\xa4data\xc5");
    body.extend_from_slice(&(bytes as u16).to_be_bytes());
    body.push(MARK);
    body.resize(body.len() + bytes - 1, b'x');
    let mut frame = b"\x82\xa4head\x80\xa4body\xc5".to_vec();
    frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
    frame.extend_from_slice(&body);
    if !peer.frames_events_with_length() {
        return frame;
    }
    let mut framed = (frame.len() as u32).to_be_bytes().to_vec();
    framed.extend_from_slice(&frame);
    framed
}
