//! What can keep a tool from talking to its master.

use std::fmt;
use std::path::PathBuf;

use saltern_transport::zeromq::RequestError;

/// Why a call to the master failed.
#[derive(Debug)]
pub enum ClientError {
    /// The key file of the local tools cannot be read.
    Key {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The event bus cannot be reached.
    Bus {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The request port cannot be reached or gave no answer.
    Request {
        /// Where the master was sought.
        address: String,
        /// What went wrong.
        source: RequestError,
    },
    /// The bus closed while events were awaited: the master ended.
    MasterEnded,
    /// The master refused, in its own words (name of the error and message).
    Refused {
        /// For example `AuthenticationError`.
        name: String,
        /// A sentence.
        message: String,
    },
    /// The answer is not what the protocol says.
    Protocol(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Key { path, source } => write!(
                f,
                "The key of the local tools, {}, cannot be read ({source}). Is the master running, \
                 and do you run this as its user?",
                path.display()
            ),
            ClientError::Bus { path, source } => {
                let advice = if source.kind() == std::io::ErrorKind::PermissionDenied {
                    "Run this as the user of the master."
                } else {
                    "Is the master running?"
                };
                write!(
                    f,
                    "Unable to connect to the salt master publisher at {} ({source}). {advice}",
                    path.display()
                )
            }
            ClientError::Request { address, source } => write!(
                f,
                "Salt request failed: {source} (master at {address}). Is the master running?"
            ),
            ClientError::MasterEnded => {
                f.write_str("The master closed its event bus while this command was waiting for it")
            }
            ClientError::Refused { message, .. } => f.write_str(message),
            ClientError::Protocol(what) => write!(f, "The master's answer makes no sense: {what}"),
        }
    }
}

impl std::error::Error for ClientError {}
