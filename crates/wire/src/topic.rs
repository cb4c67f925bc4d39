//! Names under which publications are sent when `zmq_filtering` is on (wire-protocol §2.1).

use saltern_crypto::HashType;

/// The topic every subscriber with filtering takes.
pub const BROADCAST: &str = "broadcast";

/// The topic of syndics, used with `order_masters`.
pub const SYNDIC: &str = "syndic";

/// The topic of one minion: the SHA-1 of its id in hexadecimal.
#[must_use]
pub fn of_minion(id: &str) -> String {
    HashType::Sha1.hex_digest(id.as_bytes())
}

/// Whether a master sends publications of this target type to each matched minion under its own
/// topic; all other types go to [`BROADCAST`].
#[must_use]
pub fn is_addressed(tgt_type: &str) -> bool {
    matches!(tgt_type, "glob" | "list" | "pcre")
}
