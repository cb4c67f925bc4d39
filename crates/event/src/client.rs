//! Asynchronous clients of a bus in another process.

use std::io;
use std::path::Path;
use std::time::Duration;

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
    pub async fn connect(path: &Path) -> io::Result<Subscriber> {
        let _ = path;
        todo!()
    }

    /// Only events whose tag starts with `prefix` are returned from now on.
    pub fn filter(&mut self, prefix: impl Into<String>) {
        let _ = prefix.into();
        todo!()
    }

    /// The next event; `None` when the bus closed. Cancellation-safe.
    ///
    /// # Errors
    /// When reading fails or the stream is broken.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        todo!()
    }
}

/// Pushes one event into a pull socket: `_stamp` is set to now.
///
/// # Errors
/// When nobody listens there, or it does not take the event within `deadline`
/// (`io::ErrorKind::TimedOut`).
pub async fn push(
    path: &Path,
    tag: &str,
    data: Map,
    framing: Framing,
    deadline: Duration,
) -> io::Result<()> {
    let _ = (path, tag, data, framing, deadline);
    todo!()
}
