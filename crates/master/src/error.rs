//! Why a master does not start: one sentence that names the option or file and the way out.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use saltern_crypto::CryptoError;
use saltern_store::StoreError;

/// Why a master does not start.
#[derive(Debug)]
pub enum StartError {
    /// An option has a value that cannot be used.
    Option {
        /// The option.
        name: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A port cannot be listened on.
    Listen {
        /// Where.
        address: SocketAddr,
        /// The option that says so.
        option: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A file or directory could not be made.
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The event bus cannot be opened.
    Bus {
        /// The option `sock_dir`.
        sock_dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A key, the job cache or the data cache cannot be opened.
    Store(StoreError),
    /// OpenSSL failed.
    Crypto(CryptoError),
    /// The threads of the sign-ins cannot be started.
    Threads(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Option { name, problem } => write!(f, "option {name}: {problem}"),
            StartError::Listen { address, option, source } => {
                write!(f, "cannot listen on {address} (options interface and {option}): {source}")?;
                match source.kind() {
                    io::ErrorKind::AddrInUse => write!(
                        f,
                        "; another program, perhaps another master, listens there: stop it or \
                         set another {option}"
                    ),
                    io::ErrorKind::PermissionDenied => {
                        write!(f, "; use a port above 1023 or start the master as root")
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        write!(f, "; this host has no such address: set another interface")
                    }
                    _ => Ok(()),
                }
            }
            StartError::File { path, action, source } => {
                write!(f, "cannot {action} {}: {source}", path.display())
            }
            StartError::Bus { sock_dir, source } => {
                write!(
                    f,
                    "cannot open the event bus in {} (sock_dir): {source}",
                    sock_dir.display()
                )
            }
            StartError::Store(error) => write!(f, "{error}"),
            StartError::Crypto(error) => write!(f, "{error}"),
            StartError::Threads(error) => write!(
                f,
                "cannot start the threads that sign minions in: {error}; raise the limit on \
                 processes of the user this master runs as"
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Listen { source, .. }
            | StartError::File { source, .. }
            | StartError::Bus { source, .. }
            | StartError::Threads(source) => Some(source),
            StartError::Store(error) => Some(error),
            StartError::Crypto(error) => Some(error),
            StartError::Option { .. } => None,
        }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        StartError::Store(error)
    }
}

impl From<CryptoError> for StartError {
    fn from(error: CryptoError) -> Self {
        StartError::Crypto(error)
    }
}
