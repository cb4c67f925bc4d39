//! Publications: the job map, sealing by the master, opening by the minion (wire-protocol §6).

mod job;
mod open;
mod seal;

pub use job::Job;
pub use open::{Dropped, OpenError, Opener, Publication, SignaturePolicy};
pub use seal::Sealer;
