//! Which master a minion talks to, when it leaves and where it goes: a pure state machine.
//! No sockets, no clock and no chance of its own: time comes with every input and random numbers
//! from a generator given at the start, so every story can be replayed in a test.
//!
//! ```text
//! Idle -> Searching -> Connected: watches ask on two channels, the standby signs in elsewhere
//!           |    ^        |  a channel silent -> doubt: a fresh connection to the same master,
//!           v    |        |     beside it one to the next; heard -> as before, fresh -> refreshed,
//!         Waiting         |     neither in time -> the next, if it is there, else Searching
//!                         |  closed, refused -> Searching
//!                         '- told to leave, or the preferred master is back -> the other one first
//! ```
//!
//! One file each: `search`, `election` (rounds), `link` (the connection in use), `probe`, `delays`
//! (one channel), `doubt`, `standby`, `leave`, `failback`; `outbox` and `seen` decide about returns
//! and jobs.

mod delays;
mod doubt;
mod election;
mod failback;
mod leave;
mod link;
mod machine;
mod order;
mod outbox;
mod policy;
mod probe;
mod search;
mod seen;
mod standby;
mod types;

pub use machine::Machine;
pub use order::{crc32, initial_order};
pub use outbox::{Bounds, Outbox, Parcel};
pub use policy::{Pace, Policy, Selection, Timing};
pub use seen::Seen;
pub use types::{
    Action, Attempt, Channel, Hard, Input, LeaveReason, LossReason, Master, Notice, Probe,
    ProbeResult, Readiness, Ready, Soft, Status, Switch, Verdict,
};
