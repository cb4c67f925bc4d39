//! What is measured, and how figures are kept.

pub mod call;
pub mod failover;
pub mod fleet;
pub mod minion;
pub mod proc;
pub mod table;

/// One figure of both: all trials, of which the median counts.
pub struct Figure {
    /// What it is.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
    pub saltern: Vec<f64>,
    pub salt: Vec<f64>,
    /// The ratio Saltern must not exceed.
    pub target: Target,
}

/// What is to be reached.
pub enum Target {
    /// Saltern's figure at most so much of Salt's.
    Ratio(f64),
    /// Saltern's figure at most so much.
    AtMost(f64),
}
