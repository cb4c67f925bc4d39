//! The service manager's side of `sd_notify`, for a daemon that is tried out.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

/// A socket that hears what a daemon has to say.
pub struct Notifications {
    socket: UnixDatagram,
}

impl Notifications {
    /// Listens at `path`, which must be short enough for a socket.
    pub fn listen(path: &Path) -> Result<Self, String> {
        drop(std::fs::remove_file(path));
        let at = |e: std::io::Error| format!("{}: {e}", path.display());
        let socket = UnixDatagram::bind(path).map_err(at)?;
        socket.set_read_timeout(Some(Duration::from_millis(200))).map_err(at)?;
        Ok(Notifications { socket })
    }

    /// Waits for a line such as `READY=1`.
    pub fn expect(&self, line: &str) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(60);
        let mut buffer = [0; 4096];
        let mut heard = Vec::new();
        while Instant::now() < end {
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|l| l == line) {
                return Ok(());
            }
            heard.push(text);
        }
        Err(format!("the daemon did not say {line} in a minute; it said {heard:?}"))
    }
}
