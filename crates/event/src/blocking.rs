//! The clients for programs without a tokio runtime (small command-line tools).

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use saltern_value::Map;

use crate::{Event, Framing};

/// Reads events from a publish socket.
#[derive(Debug)]
pub struct Subscriber {}

impl Subscriber {
    /// Connects to a publish socket.
    ///
    /// # Errors
    /// When nobody listens there, or the file mode forbids it.
    pub fn connect(path: &Path) -> io::Result<Subscriber> {
        let _ = path;
        todo!()
    }

    /// The next event whose tag starts with `prefix`; `None` when the bus closed.
    ///
    /// # Errors
    /// `io::ErrorKind::TimedOut` at `deadline` (if any); else when reading fails.
    pub fn next(&mut self, prefix: &str, deadline: Option<Instant>) -> io::Result<Option<Event>> {
        let _ = (prefix, deadline);
        todo!()
    }
}

/// Pushes one event into a pull socket: `_stamp` is set to now.
///
/// # Errors
/// When nobody listens there, or it does not take the event in time.
pub fn push(
    path: &Path,
    tag: &str,
    data: Map,
    framing: Framing,
    timeout: Duration,
) -> io::Result<()> {
    let _ = (path, tag, data, framing, timeout);
    todo!()
}
