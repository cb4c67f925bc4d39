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
    /// `master_alive_interval`: a silent master is left within twice this time. `None` when 0:
    /// the defaults of the heartbeats alone say how soon.
    pub alive_interval: Option<Duration>,
    /// `master_failback_interval` (or the alive interval); `None` unless `master_failback`.
    pub failback_interval: Option<Duration>,
    /// Longest time one whole attempt (name, connect, sign-in, subscription) may take.
    pub attempt_timeout: Duration,
    /// `acceptance_wait_time`: pause before a master that holds our key is asked again.
    pub acceptance_wait: Duration,
    /// `acceptance_wait_time_max`: the pause doubles up to this; zero = it does not grow.
    pub acceptance_wait_max: Duration,
    /// `failover_heartbeat_interval`: time between two questions on the subscription; `None` = a
    /// silent subscription is not looked for.
    pub heartbeat_interval: Option<Duration>,
    /// `failover_probe_interval`: time between two questions on the request connection; `None` =
    /// only requests that fail are noticed.
    pub probe_interval: Option<Duration>,
    /// `failover_standby`: sign in at the other masters in the background.
    pub standby: bool,
    /// `failover_standby_interval`: how often each of them.
    pub standby_interval: Duration,
}

impl Policy {
    /// The defaults of all options for these masters.
    #[must_use]
    pub fn new(masters: Vec<String>) -> Self {
        Policy {
            masters,
            selection: Selection::Listed,
            alive_interval: None,
            failback_interval: None,
            attempt_timeout: Duration::from_secs(10),
            acceptance_wait: Duration::from_secs(10),
            acceptance_wait_max: Duration::ZERO,
            heartbeat_interval: Some(Self::HEARTBEAT),
            probe_interval: Some(Self::HEARTBEAT),
            standby: true,
            standby_interval: Duration::from_secs(600),
        }
    }

    /// Default time between two questions on either channel.
    pub const HEARTBEAT: Duration = Duration::from_millis(1500);
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
