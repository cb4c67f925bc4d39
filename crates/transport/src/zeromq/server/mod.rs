//! What both servers share: accepting within limits, knowing the open connections, ending them.

mod accept;
mod registry;

use std::sync::{Mutex, MutexGuard, PoisonError};

use saltern_zmtp::Error;

use super::counters::CloseReason;
use super::link::LinkError;

pub(crate) use accept::{Acceptor, Bound};
pub(crate) use registry::{Bounds, Id, Peer, Place, Registry, Stage};

/// Locks; a panic elsewhere does not take the server down with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a connection ended, and in which words.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) CloseReason, pub(crate) String);

impl From<CloseReason> for Ended {
    fn from(reason: CloseReason) -> Self {
        Ended(reason, String::new())
    }
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed => CloseReason::Peer.into(),
            LinkError::Io(error) => Ended(CloseReason::Io, error.to_string()),
            LinkError::Protocol(error) => {
                let reason = match &error {
                    Error::TooLong(_) => CloseReason::TooLong,
                    Error::WrongType(_) => CloseReason::WrongType,
                    Error::Refused(_) => CloseReason::Peer,
                    Error::NotZmtp
                    | Error::OldVersion(_)
                    | Error::Mechanism
                    | Error::Malformed(_) => CloseReason::Garbage,
                };
                Ended(reason, error.to_string())
            }
        }
    }
}
