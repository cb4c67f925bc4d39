//! Salt's configuration: every option declared once, the files read in Salt's order, and typed
//! structs for the rest of the house.

mod check;
mod error;
mod explain;
mod files;
mod glob;
mod id;
mod known;
mod load;
mod master;
mod minion;
mod moot;
mod names;
mod nearest;
mod odd;
mod option;
mod paths;
mod shared;

pub use error::{ConfigError, Place};
pub use explain::Explanation;
pub use load::{Loaded, Sources, load_master, load_minion};
pub use master::MasterOptions;
pub use minion::MinionOptions;
pub use option::{OneOrMany, Roots, Support};
