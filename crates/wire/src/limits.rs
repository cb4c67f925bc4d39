//! Every bound of the protocol in one place: what strangers may make us hold or compute.

pub use saltern_value::msgpack::Limits;

/// The only protocol version spoken (wire-protocol §3.2). Lower ones lack the per-minion session
/// key and the obligatory token, and so let one minion speak for another (CVE-2025-62349).
pub const PROTOCOL_VERSION: i64 = 3;

/// What a request's outer mapping may unfold to when it comes from anywhere.
pub const STRANGER: Limits = Limits::STRANGER;

/// The same for a tool on the master's own host, which may name many minions in one target.
pub const LOCAL: Limits = Limits { depth: 64, items: 2_000_000 };

/// Longest public key text in bytes that is looked at; 8192 bits need 1500.
pub const PEM_LEN: usize = 4096;

/// Longest nonce in characters; clients send 32.
pub const NONCE_LEN: usize = 64;

/// Longest answer to a sign-in in bytes that is looked at; real ones have about 2 kB.
pub const AUTH_REPLY_LEN: usize = 64 * 1024;

/// Requests remembered by [`crate::session::ReplayGuard`] per default.
pub const REPLAY_ENTRIES: usize = 65_536;
