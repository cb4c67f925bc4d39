//! The two sockets of a bus: files, connections, and the tasks that serve them.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::bus::{self, BusOptions, Hub, lock};
use crate::{BusPaths, FrameReader};

/// The longest path a socket can have on Linux (`sun_path` without its closing zero).
const PATH_MAX: usize = 107;
/// Bytes of one pushed event; whoever may push is trusted, this is against accidents.
const PUSH_MAX: usize = 128 << 20;
const READ: usize = 16 << 10;
/// Frames written in one call.
const IOV: usize = 256;

/// The socket files and the tasks behind them.
#[derive(Debug)]
pub(crate) struct Servers {
    tasks: [AbortHandle; 2],
    _files: [SocketFile; 2],
}

impl Servers {
    pub(crate) fn start(paths: &BusPaths, hub: &Arc<Hub>) -> io::Result<Servers> {
        let (pull, pull_file) = listen(&paths.pull, 0o600)?;
        let (publish, publish_file) = listen(&paths.publish, hub.options.publish_mode)?;
        let publishing = tokio::spawn(accept(publish, hub.clone(), |stream, hub| async move {
            let (id, outlet) = hub.add_outlet();
            let _leave = Leave(&hub, id);
            outlet.serve(stream).await
        }));
        let pulling = tokio::spawn(accept(pull, hub.clone(), pull_from));
        let tasks = [publishing.abort_handle(), pulling.abort_handle()];
        Ok(Servers { tasks, _files: [pull_file, publish_file] })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The tasks of the connections end with the task that accepted them.
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

struct Leave<'a>(&'a Hub, u64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        lock(&self.0.outlets).remove(&self.1);
    }
}

/// A socket file of ours, removed when dropped unless somebody else has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn identity(path: &Path) -> Option<(u64, u64)> {
        fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && SocketFile::identity(&self.path) == self.identity {
            // Left behind it would do no harm: the next bus replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path` with `mode`. The socket is made under another name and moved there when it
/// has its mode, so nobody gets in before, and the file of a dead process is replaced in one step.
fn listen(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    check_length(path)?;
    check_free(path)?;
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_file_name(format!(".{}.{serial}", std::process::id()));
    let made = make(&temporary, path, mode);
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made.map_err(|error| {
        let text = format!("cannot listen on {} (option sock_dir): {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

fn make(temporary: &Path, path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let _ = fs::remove_file(temporary);
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&SockAddr::unix(temporary)?)?;
    fs::set_permissions(temporary, fs::Permissions::from_mode(mode))?;
    socket.listen(1024)?;
    fs::rename(temporary, path)?;
    let listener = UnixListener::from_std(socket.into())?;
    let identity = SocketFile::identity(path);
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

fn check_length(path: &Path) -> io::Result<()> {
    let length = path.as_os_str().as_bytes().len();
    if length <= PATH_MAX {
        return Ok(());
    }
    let text = format!(
        "the socket path {} has {length} bytes, the system allows {PATH_MAX}: choose a shorter \
         sock_dir",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn check_free(path: &Path) -> io::Result<()> {
    let taken = |what: &str| {
        let text = format!("{} {what}", path.display());
        Err(io::Error::new(io::ErrorKind::AddrInUse, text))
    };
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if !meta.file_type().is_socket() => {
            taken("is no socket: remove it or choose another sock_dir")
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            taken("is in use by a running process")
        }
        Ok(_) => Ok(()),
    }
}

async fn accept<F>(
    listener: UnixListener,
    hub: Arc<Hub>,
    serve: impl Fn(UnixStream, Arc<Hub>) -> F + Copy + Send + 'static,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let Ok((stream, _)) = stream else {
            // Mostly no file descriptors: without a pause this would spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(place) = Place::take(&hub) else {
            hub.refuse("too many connections");
            continue;
        };
        let hub = hub.clone();
        tasks.spawn(async move {
            let _place = place;
            if let Err(error) = serve(stream, hub).await {
                log::debug!("event bus: a connection ended: {error}");
            }
        });
    }
}

/// One of the connections a bus may have.
struct Place(Arc<Hub>);

impl Place {
    fn take(hub: &Arc<Hub>) -> Option<Place> {
        let open = hub.connections.fetch_add(1, Ordering::Relaxed);
        let place = Place(hub.clone());
        (open < hub.options.max_connections).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads the events one process pushes.
async fn pull_from(stream: UnixStream, hub: Arc<Hub>) -> io::Result<()> {
    let mut reader = FrameReader::new(PUSH_MAX);
    loop {
        stream.readable().await?;
        let mut buffer = [0; READ];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => reader.push(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        loop {
            match reader.next_body() {
                Ok(Some(body)) => bus::take_pushed(&hub, &body),
                Ok(None) => break,
                Err(error) => {
                    hub.refuse(&error.to_string());
                    return Ok(());
                }
            }
        }
    }
}

/// One process that reads events.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Outlet {
    /// Queues a frame; `false` when there is no room for it.
    pub(crate) fn offer(&self, framed: &Arc<[u8]>, options: &BusOptions) -> bool {
        let mut waiting = lock(&self.waiting);
        // An empty queue takes any event, however long.
        let fits = waiting.frames.is_empty()
            || waiting.frames.len() < options.queue
                && waiting.bytes + framed.len() <= options.queue_bytes;
        if fits {
            waiting.bytes += framed.len();
            waiting.frames.push_back(framed.clone());
        }
        drop(waiting);
        self.wake.notify_one();
        fits
    }

    /// Events and bytes that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let waiting = lock(&self.waiting);
        (waiting.frames.len(), waiting.bytes)
    }

    async fn serve(&self, stream: UnixStream) -> io::Result<()> {
        let mut batch: Vec<Arc<[u8]>> = Vec::new();
        let mut written = 0;
        loop {
            if batch.is_empty() {
                batch = self.take_batch();
            }
            let interest = if batch.is_empty() {
                Interest::READABLE
            } else {
                written = write(&stream, &mut batch, written)?;
                if batch.is_empty() {
                    continue;
                }
                Interest::READABLE | Interest::WRITABLE
            };
            tokio::select! {
                () = self.wake.notified(), if batch.is_empty() => {
                    // Events come in bursts: what else is about to be fired goes in the same write.
                    tokio::task::yield_now().await;
                }
                ready = stream.ready(interest) => {
                    // A subscriber has nothing to say; reading is how its end is seen.
                    if ready?.is_readable() && is_closed(&stream)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn take_batch(&self) -> Vec<Arc<[u8]>> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.frames.len().min(IOV);
        let batch: Vec<Arc<[u8]>> = waiting.frames.drain(..count).collect();
        waiting.bytes -= batch.iter().map(|frame| frame.len()).sum::<usize>();
        if waiting.frames.is_empty() {
            // An idle subscriber holds no memory for its queue.
            waiting.frames = VecDeque::new();
        }
        batch
    }
}

/// Writes what the socket takes; returns how much of the first frame left is written.
fn write(stream: &UnixStream, batch: &mut Vec<Arc<[u8]>>, mut written: usize) -> io::Result<usize> {
    while !batch.is_empty() {
        let mut skip = written;
        let slices: Vec<IoSlice<'_>> = batch
            .iter()
            .map(|frame| IoSlice::new(frame.get(std::mem::take(&mut skip)..).unwrap_or_default()))
            .collect();
        match stream.try_write_vectored(&slices) {
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
        let mut done = 0;
        for frame in batch.iter() {
            if written < frame.len() {
                break;
            }
            written -= frame.len();
            done += 1;
        }
        batch.drain(..done);
    }
    Ok(written)
}

fn is_closed(stream: &UnixStream) -> io::Result<bool> {
    let mut buffer = [0; 256];
    match stream.try_read(&mut buffer) {
        Ok(n) => Ok(n == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
