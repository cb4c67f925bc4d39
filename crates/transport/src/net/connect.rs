//! Resolving a `host:port` and connecting to the first of its addresses that answers.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Keepalive;

/// Which addresses of a name are used (`ipv6`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// In the order the system gives (option unset).
    #[default]
    Any,
    /// IPv6 first, then IPv4 (`ipv6: True`).
    V6First,
    /// IPv4 only (`ipv6: False`).
    V4Only,
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Which addresses are tried.
    pub family: IpFamily,
    /// Local address (`source_address`).
    pub source: Option<IpAddr>,
    /// Local port (`source_ret_port`, `source_publish_port`); 0 leaves it to the system.
    pub source_port: u16,
    /// Keepalive of the connection.
    pub keepalive: Keepalive,
    /// Time for one address.
    pub connect_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            family: IpFamily::Any,
            source: None,
            source_port: 0,
            keepalive: Keepalive::default(),
            connect_timeout: Duration::from_secs(3),
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The name has no (usable) address, or the look-up failed or took too long.
    Resolve(String),
    /// Every address refused at once: nothing listens there.
    Refused,
    /// No answer in time.
    Timeout,
    /// The system could not reach the address (no route, source address not ours, no descriptors).
    Unreachable(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Resolve(why) => write!(f, "the name does not resolve: {why}"),
            ConnectError::Refused => f.write_str("the connection is refused"),
            ConnectError::Timeout => f.write_str("there is no answer in time"),
            ConnectError::Unreachable(why) => write!(f, "the address is out of reach: {why}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Head start of one address before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// A name with more addresses than this is a mistake or an attack.
const MAX_ADDRESSES: usize = 16;

/// Connects to `address` (`host:port` or `[v6]:port`) within `deadline` counted from now. The
/// addresses of a name are tried in turn, the next one beside the last after a quarter second.
///
/// # Errors
/// A [`ConnectError`] that says which step failed.
pub async fn connect(
    address: &str,
    options: &ConnectOptions,
    deadline: Duration,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let deadline = Instant::now() + deadline;
    let addresses = timeout_at(deadline, resolve(address, options.family))
        .await
        .unwrap_or_else(|_| Err(ConnectError::Resolve("the look-up took too long".into())))?;
    let connected = timeout_at(deadline, race(addresses, options)).await;
    connected.unwrap_or(Err(ConnectError::Timeout))
}

/// The addresses of `host:port`. Only a real name asks the system, on a thread of its own.
async fn resolve(address: &str, family: IpFamily) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(literal) = address.parse() {
        return Ok(vec![literal]);
    }
    let bad = || ConnectError::Resolve(format!("'{address}' is not HOST:PORT"));
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    if host.is_empty() || host.contains(':') {
        return Err(bad());
    }
    let found = lookup_host((host, port)).await;
    let mut found: Vec<SocketAddr> =
        found.map_err(|error| ConnectError::Resolve(error.to_string()))?.collect();
    match family {
        IpFamily::Any => {}
        IpFamily::V6First => found.sort_by_key(SocketAddr::is_ipv4),
        IpFamily::V4Only => found.retain(SocketAddr::is_ipv4),
    }
    found.truncate(MAX_ADDRESSES);
    if found.is_empty() {
        return Err(ConnectError::Resolve(format!("'{host}' has no usable address")));
    }
    Ok(found)
}

/// Connects to the first address that answers.
async fn race(
    addresses: Vec<SocketAddr>,
    options: &ConnectOptions,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    if let [only] = addresses[..] {
        return attempt(only, options.clone()).await;
    }
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut worst = None;
    loop {
        let next = waiting.next();
        let more = next.is_some();
        if let Some(address) = next {
            attempts.spawn(attempt(address, options.clone()));
        }
        let head_start = sleep(HEAD_START);
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(connected))) => return Ok(connected),
                Some(Ok(Err(error))) => worst = Some(worse(worst, error)),
                Some(Err(_)) => {}
                None => return Err(worst.unwrap_or(ConnectError::Timeout)),
            },
            () = head_start, if more => {}
        }
    }
}

/// Of two failures the one that says less about the host: only if every address refused is the
/// host known to be up with nobody listening.
fn worse(have: Option<ConnectError>, new: ConnectError) -> ConnectError {
    match (have, new) {
        (Some(ConnectError::Timeout), _) | (_, ConnectError::Timeout) => ConnectError::Timeout,
        (Some(ConnectError::Unreachable(why)), _) => ConnectError::Unreachable(why),
        (_, new) => new,
    }
}

async fn attempt(
    address: SocketAddr,
    options: ConnectOptions,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let connecting = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = source_of(&options, address) {
            // A fixed port may still be busy with the connection before this one.
            socket.set_reuseaddr(true)?;
            match socket.bind(source) {
                // An address that has left this host must not cut it off: then any will do.
                Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
                    log::debug!("The source address {source} is not on this host");
                }
                other => other?,
            }
        }
        socket.connect(address).await
    };
    let stream = match timeout(options.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| failure(&error))?,
        Err(_) => return Err(ConnectError::Timeout),
    };
    // A connection to a free port of this machine can meet itself.
    if stream.local_addr().is_ok_and(|local| local == address) {
        return Err(ConnectError::Refused);
    }
    options.keepalive.apply(&stream);
    Ok((stream, address))
}

fn source_of(options: &ConnectOptions, target: SocketAddr) -> Option<SocketAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    match options.source {
        Some(ip) => Some(SocketAddr::new(ip, options.source_port)),
        None if options.source_port != 0 => Some(SocketAddr::new(any, options.source_port)),
        None => None,
    }
}

fn failure(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::Timeout,
        _ => ConnectError::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_that_are_none_are_told_apart_from_unknown_names() {
        for bad in ["", "nohost", "host:", "host:99999", ":4505", "::1:4505"] {
            let found = resolve(bad, IpFamily::Any).await;
            assert!(matches!(found, Err(ConnectError::Resolve(_))), "{bad}: {found:?}");
        }
        let v6 = resolve("[::1]:4505", IpFamily::Any).await.unwrap();
        assert_eq!(v6, ["[::1]:4505".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        // Bound and not listened on: nobody else gets the port.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let dead = socket.local_addr().unwrap();
        let options = ConnectOptions::default();
        let (_, address) = race(vec![dead, alive], &options).await.unwrap();
        assert_eq!(address, alive);
        let refused = race(vec![dead, dead], &options).await.unwrap_err();
        assert_eq!(refused, ConnectError::Refused);
    }

    #[tokio::test]
    async fn a_source_address_that_is_not_ours_is_left_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = Some("192.0.2.1".parse().unwrap());
        let options = ConnectOptions { source, ..ConnectOptions::default() };
        let address = listener.local_addr().unwrap().to_string();
        connect(&address, &options, Duration::from_secs(120)).await.unwrap();
    }
}
