//! The clients for programs without a tokio runtime (small command-line tools).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use saltern_value::Map;

use crate::reader::Events;
use crate::{Event, Framing, event, frame};

const READ: usize = 16 << 10;

/// Reads events from a publish socket.
#[derive(Debug)]
pub struct Subscriber {
    stream: UnixStream,
    events: Events,
}

impl Subscriber {
    /// Connects to a publish socket.
    ///
    /// # Errors
    /// When nobody listens there, or the file mode forbids it.
    pub fn connect(path: &Path) -> io::Result<Subscriber> {
        Ok(Subscriber { stream: UnixStream::connect(path)?, events: Events::new() })
    }

    /// The next event whose tag starts with `prefix`; `None` when the bus closed.
    ///
    /// # Errors
    /// `io::ErrorKind::TimedOut` at `deadline` (if any); else when reading fails.
    pub fn next(&mut self, prefix: &str, deadline: Option<Instant>) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.next(prefix)? {
                return Ok(Some(event));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(left)?;
            let mut buffer = [0; READ];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(n) => self.events.push(&buffer[..n]),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Pushes one event into a pull socket: `_stamp` is set to now.
///
/// # Errors
/// When nobody listens there, or it takes nothing for as long as `timeout`.
pub fn push(
    path: &Path,
    tag: &str,
    data: Map,
    framing: Framing,
    timeout: Duration,
) -> io::Result<()> {
    let event = Event::new(tag, data, SystemTime::now());
    let mut stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    stream.write_all(&frame(&event::pack(&event), framing)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}
