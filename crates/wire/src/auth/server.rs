//! The master's half of `_auth`: reading the request, deciding, and the answers.

mod decide;
mod notice;
mod replies;
mod request;

pub use decide::{Act, Circumstances, Decision, KeyRecord, StoreAction, Verdict, decide};
pub use notice::{Asker, Notice, Refusal, Why};
pub use replies::{Grant, SharedKey, accepted, pub_sig, refused};
pub use request::{AuthRefused, AuthRequest};

/// Tag of the event fired for each sign-in when `auth_events` is on.
pub const EVENT_TAG: &str = "salt/auth";
