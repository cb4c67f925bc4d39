//! Names of the bus sockets.

use std::path::{Path, PathBuf};

/// The two sockets of a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusPaths {
    /// Subscribers connect here.
    pub publish: PathBuf,
    /// Events are pushed here.
    pub pull: PathBuf,
}

impl BusPaths {
    /// A master's bus: `master_event_pub.ipc` and `master_event_pull.ipc` in `sock_dir`.
    #[must_use]
    pub fn master(sock_dir: &Path) -> BusPaths {
        BusPaths {
            publish: sock_dir.join("master_event_pub.ipc"),
            pull: sock_dir.join("master_event_pull.ipc"),
        }
    }

    /// A minion's bus: `minion_event_<hash>_pub.ipc` and `_pull.ipc` in `sock_dir`, where `hash` is
    /// the first ten hex digits of the `hash_type` digest (SHA-256) of the minion id.
    #[must_use]
    pub fn minion(sock_dir: &Path, hash: &str) -> BusPaths {
        BusPaths {
            publish: sock_dir.join(format!("minion_event_{hash}_pub.ipc")),
            pull: sock_dir.join(format!("minion_event_{hash}_pull.ipc")),
        }
    }
}
