//! Which master a minion talks to, when it leaves and where it goes: a pure state machine.
//! No sockets, no clock and no chance of its own: time comes with every input and random numbers
//! from a generator given at the start, so every story can be replayed in a test.

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
pub use policy::{Policy, Selection, Timing};
pub use seen::Seen;
pub use types::{
    Action, Attempt, Channel, Hard, Input, LeaveReason, LossReason, Master, Notice, Probe,
    ProbeResult, Readiness, Ready, Soft, Status, Switch, Verdict,
};
