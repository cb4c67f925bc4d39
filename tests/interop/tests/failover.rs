//! Failover as an operator sees it: real binaries, real sockets, real Salt on the other side
//! wherever it can take part. One file a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../failover/detection.rs"]
mod detection;
#[path = "../failover/drain.rs"]
mod drain;
#[path = "../failover/herd.rs"]
mod herd;
#[path = "../failover/options.rs"]
mod options;
#[path = "../failover/recipe.rs"]
mod recipe;
#[path = "../failover/requirements.rs"]
mod requirements;
#[path = "../failover/rollover.rs"]
mod rollover;
#[path = "../failover/schedule.rs"]
mod schedule;
#[path = "../failover/spool.rs"]
mod spool;
#[path = "../failover/standby.rs"]
mod standby;
#[path = "../failover/switch.rs"]
mod switch;
#[path = "../failover/trust.rs"]
mod trust;
#[path = "../failover/view.rs"]
mod view;
