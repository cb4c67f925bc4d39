//! Asynchronous clients of a bus in another process.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use saltern_value::Map;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::reader::Events;
use crate::{Event, Framing, event, frame};

const READ: usize = 64 << 10;

/// Reads events from a publish socket.
#[derive(Debug)]
pub struct Subscriber {
    stream: UnixStream,
    events: Events,
    prefix: String,
    buffer: Box<[u8]>,
}

impl Subscriber {
    /// Connects to a publish socket.
    ///
    /// # Errors
    /// When nobody listens there, or the file mode forbids it.
    pub async fn connect(path: &Path) -> io::Result<Subscriber> {
        let stream = connect(path).await?;
        let buffer = vec![0; READ].into_boxed_slice();
        Ok(Subscriber { stream, events: Events::new(), prefix: String::new(), buffer })
    }

    /// Only events whose tag starts with `prefix` are returned from now on.
    pub fn filter(&mut self, prefix: impl Into<String>) {
        self.prefix = prefix.into();
    }

    /// The next event; `None` when the bus closed. Cancellation-safe.
    ///
    /// # Errors
    /// When reading fails or the stream is broken.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.next(&self.prefix)? {
                return Ok(Some(event));
            }
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(n) => self.events.push(self.buffer.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
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
    let event = Event::new(tag, data, SystemTime::now());
    let bytes = frame(&event::pack(&event), framing);
    let pushing = async {
        let mut stream = connect(path).await?;
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    };
    timeout(deadline, pushing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects; waits while the other side has more callers than it can hold ready.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(5)).await;
            }
            connected => return connected,
        }
    }
}
