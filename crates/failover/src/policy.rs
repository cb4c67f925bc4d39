//! The settings of one machine, taken from the minion's options by the program around it.

use std::time::Duration;

/// How the list of masters is ordered at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// As configured.
    #[default]
    Listed,
    /// Shuffled once (`random_master`).
    Shuffled,
    /// Rotated by the checksum of this minion id (`master_type: distributed`).
    Distributed(String),
}

/// The settings of one machine.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Names or addresses in configured order. A hot master has a machine, and a list of one, of
    /// its own.
    pub masters: Vec<String>,
    /// How to order them at first.
    pub selection: Selection,
    /// `master_alive_interval`; `None` when 0: only closed connections are noticed then.
    pub alive_interval: Option<Duration>,
    /// `master_failback_interval` (or the alive interval); `None` unless `master_failback`.
    pub failback_interval: Option<Duration>,
    /// Longest time one whole attempt (name, connect, sign-in, subscription) may take.
    pub attempt_timeout: Duration,
    /// `acceptance_wait_time`: pause before a master that holds our key is asked again.
    pub acceptance_wait: Duration,
    /// `acceptance_wait_time_max`: the pause doubles up to this; zero = it does not grow.
    pub acceptance_wait_max: Duration,
}

impl Policy {
    /// First pause after a round in which no master took us.
    pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
    /// Longest pause: a fleet whose masters return is back within seconds. A refused connection
    /// costs a dead host one packet, and a host that hangs is bounded by the attempt's deadline.
    pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
    /// A candidate has this long for itself before the next one is tried beside it.
    pub const HEAD_START: Duration = Duration::from_millis(1000);
    /// After the first two, one more every half second: nine silent masters cost five seconds.
    pub const NEXT_START: Duration = Duration::from_millis(500);
    /// A connection that breaks before this is an early loss. Too many of them are slowed down, so
    /// that a master that takes us and drops us does not keep us busy.
    pub const SETTLED: Duration = Duration::from_secs(10);
    /// So many early losses in a row (each within [`Policy::FORGIVEN`] of the last) only cost
    /// [`Policy::BREATH`]: masters that die one after the other must not be mistaken for that.
    pub const EARLY_LOSSES: u32 = 8;
    /// Pause before a master that we lost early is asked again.
    pub const BREATH: Duration = Duration::from_millis(250);
    /// After such a time without an early loss the former ones no longer count.
    pub const FORGIVEN: Duration = Duration::from_secs(60);
    /// Upper bound of the time one probe may take.
    pub const PROBE_DEADLINE: Duration = Duration::from_secs(5);
    /// Every so many probes one carries a proof of the session key.
    pub const PROVE_EVERY: u32 = 4;
    /// A preferred master must answer so many times in a row before we go back.
    pub const FAILBACK_STABLE: u32 = 2;

    /// Deadline of one probe. Two of them, one after the other, and the interval before them fit
    /// in two intervals with a fifth to spare for the sign-in elsewhere.
    #[must_use]
    pub fn probe_deadline(interval: Duration) -> Duration {
        interval.mul_f64(0.4).min(Self::PROBE_DEADLINE)
    }

    /// Longest pause between rounds.
    #[must_use]
    pub fn backoff_max(&self) -> Duration {
        match self.acceptance_wait_max {
            Duration::ZERO => Self::BACKOFF_MAX,
            set => set.clamp(Self::BACKOFF_FIRST, Self::BACKOFF_MAX),
        }
    }
}
