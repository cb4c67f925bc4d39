//! The settings of one machine, taken from the minion's options by the program around it.

use std::time::Duration;

use crate::types::Channel;

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
    /// The heartbeat interval was set by the operator: no master's wish makes it longer.
    pub heartbeat_fixed: bool,
    /// The same for the probe interval.
    pub probe_fixed: bool,
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
            heartbeat_fixed: false,
            probe_fixed: false,
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
    /// After the first two, one more each time: nine silent masters cost a little over two seconds.
    pub const NEXT_START: Duration = Duration::from_millis(150);
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
    /// Without an answer for this time a master is in doubt, however quick it was before.
    pub const DEADLINE_FLOOR: Duration = Duration::from_millis(1700);
    /// A master in doubt has at least this time to take a fresh connection.
    pub const DOUBT_FLOOR: Duration = Duration::from_millis(1500);
    /// However slow answers were before, nothing is waited for longer than this.
    pub const PATIENCE_CEILING: Duration = Duration::from_secs(20);
    /// A question that failed at once is not asked again before this.
    pub const QUICK_RETRY: Duration = Duration::from_millis(200);
    /// Upper bound of the time a probe of a master we want to go back to may take.
    pub const PROBE_DEADLINE: Duration = Duration::from_secs(5);
    /// Every so many probes one carries a proof of the session key.
    pub const PROVE_EVERY: u32 = 4;
    /// A timer that rings later than this says that this process slept.
    pub const SLEPT: Duration = Duration::from_secs(1);
    /// A timer that rings later than this says that this host is slow, its network aside.
    pub const LATE: Duration = Duration::from_millis(50);
    /// So much longer than a timer is late may an answer take.
    pub const LATENESS_WEIGHT: u32 = 3;
    /// So many times in a row that excuses the masters; a host that always sleeps must still
    /// leave a dead one.
    pub const SLEPT_OFTEN: u32 = 3;
    /// Least time between the starts of two fresh connections to a master in doubt.
    pub const FRESH_AGAIN: Duration = Duration::from_millis(500);
    /// Fresh connections to a master in doubt at a time.
    pub const FRESH: usize = 2;
    /// The way to a master is bad when a fresh connection may take so long.
    pub const BAD_WAY: Duration = Duration::from_secs(3);
    /// A channel that never answered on so many connections in a row says nothing by its silence.
    pub const DUMB: u32 = 3;
    /// Longest time a busy or draining master may send us away for.
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
    /// Links kept open to masters that are not in use.
    pub const WARM: usize = 2;
    /// Sign-ins at other masters under way at a time; more than one only while they are slow.
    pub const PREPARING: usize = 4;
    /// Least time between the starts of two of them.
    pub const PREPARE_GAP: Duration = Duration::from_millis(250);
    /// Mean time between the first ones after connecting.
    pub const PREPARE_SPREAD: Duration = Duration::from_millis(700);
    /// Longest pause before an unreachable master is asked again in the background.
    pub const PREPARE_MAX: Duration = Duration::from_secs(60);
    /// Pause before leaving a draining master is tried again, plus up to as much by chance.
    pub const LEAVE_AGAIN: Duration = Duration::from_secs(3);
    /// Pause before a master that was emptied is asked whether it takes sign-ins again, until it
    /// says itself how long.
    pub const DRAINED: Duration = Duration::from_secs(10);
    /// No time set by an option counts as longer than this: sums of times stay in range.
    pub const LONGEST: Duration = Duration::from_secs(366 * 86400);
    /// A preferred master must answer so many times in a row before we go back.
    pub const FAILBACK_STABLE: u32 = 2;

    /// Deadline of one probe of a master we want to go back to.
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

    /// With every time in a range that can be calculated with.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let positive = |time: Duration| time.clamp(Duration::from_millis(10), Self::LONGEST);
        for optional in [
            &mut self.alive_interval,
            &mut self.failback_interval,
            &mut self.heartbeat_interval,
            &mut self.probe_interval,
        ] {
            *optional = optional.filter(|time| !time.is_zero()).map(positive);
        }
        self.attempt_timeout = positive(self.attempt_timeout);
        self.acceptance_wait = self.acceptance_wait.min(Self::LONGEST);
        self.acceptance_wait_max = self.acceptance_wait_max.min(Self::LONGEST);
        self.standby_interval = self.standby_interval.clamp(Duration::from_secs(1), Self::LONGEST);
        self
    }
}

/// How often a master wants to be asked at most; it said so when it signed us in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Pause between two questions on the subscription.
    pub heartbeat: Option<Duration>,
    /// Pause between two questions on the request connection.
    pub probe: Option<Duration>,
}

/// The times of one channel. Interval, deadline and doubt add up to less than twice
/// `master_alive_interval`, however slow answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From an answer to the next question.
    pub interval: Duration,
    deadline_max: Duration,
    doubt_max: Duration,
}

impl Timing {
    /// The times a policy gives a channel; `None` when the channel is not watched.
    #[must_use]
    pub fn new(policy: &Policy, channel: Channel) -> Option<Self> {
        Self::paced(policy, channel, Pace::default())
    }

    /// The same where the master wants to be asked less often. `master_alive_interval` still bounds
    /// what comes of it, and an interval the operator has set stays.
    #[must_use]
    pub fn paced(policy: &Policy, channel: Channel, pace: Pace) -> Option<Self> {
        let (configured, fixed, wish) = match channel {
            Channel::Publications => {
                (policy.heartbeat_interval, policy.heartbeat_fixed, pace.heartbeat)
            }
            Channel::Requests => (policy.probe_interval, policy.probe_fixed, pace.probe),
        };
        let wish = wish.filter(|_| !fixed).unwrap_or_default().min(Policy::LONGEST);
        let configured = configured.map(|interval| interval.max(wish));
        let ceiling = Policy::PATIENCE_CEILING;
        let Some(alive) = policy.alive_interval else {
            let interval = configured?;
            return Some(Timing { interval, deadline_max: ceiling, doubt_max: ceiling });
        };
        // What is left of the two intervals is for the move itself.
        let bound = alive.mul_f64(1.9);
        let longest = bound.mul_f64(0.3);
        // Who sets master_alive_interval wants the master watched; one channel is enough for that.
        let interval = match (configured, channel) {
            (Some(configured), _) => configured.min(longest),
            (None, Channel::Requests) if policy.heartbeat_interval.is_none() => longest,
            (None, _) => return None,
        };
        let left = bound.saturating_sub(interval);
        let deadline_max = left.mul_f64(0.42).min(ceiling);
        Some(Timing { interval, deadline_max, doubt_max: left.mul_f64(0.55).min(ceiling) })
    }

    /// How long an answer is waited for, when that long seems fit.
    #[must_use]
    pub fn deadline(&self, fit: Duration) -> Duration {
        fit.max(Policy::DEADLINE_FLOOR).min(self.deadline_max)
    }

    /// How long a fresh connection is waited for, when that long seems fit.
    #[must_use]
    pub fn doubt_time(&self, fit: Duration) -> Duration {
        fit.max(Policy::DOUBT_FLOOR).min(self.doubt_max)
    }

    /// How long a fresh connection is waited for when there is nothing else to do.
    #[must_use]
    pub fn longest_doubt(&self) -> Duration {
        self.doubt_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_fits_in_two_intervals() {
        for seconds in [1u64, 2, 3, 5, 30, 600] {
            let mut policy = Policy::new(vec!["m1".into()]);
            policy.alive_interval = Some(Duration::from_secs(seconds));
            let timing = Timing::new(&policy, Channel::Requests).expect("watched");
            let ever = Duration::from_secs(3600);
            let worst = timing.interval + timing.deadline(ever) + timing.doubt_time(ever);
            assert!(worst < Duration::from_secs(seconds * 2), "{seconds}: {worst:?}");
            let best = timing.interval
                + timing.deadline(Duration::ZERO)
                + timing.doubt_time(Duration::ZERO);
            assert!(best < Duration::from_secs(5), "{seconds}: {best:?}");
        }
    }

    #[test]
    fn switched_off_is_off_unless_the_alive_interval_asks_for_it() {
        let mut policy = Policy::new(vec!["m1".into()]);
        (policy.heartbeat_interval, policy.probe_interval) = (None, None);
        assert_eq!(Timing::new(&policy, Channel::Requests), None);
        policy.alive_interval = Some(Duration::from_secs(10));
        assert!(Timing::new(&policy, Channel::Requests).is_some());
        assert_eq!(Timing::new(&policy, Channel::Publications), None);
    }

    #[test]
    fn a_master_may_be_asked_less_often_but_not_less_than_the_operator_wants() {
        let mut policy = Policy::new(vec!["m1".into()]);
        let ten = Some(Duration::from_secs(10));
        let pace = Pace { heartbeat: Some(Duration::from_millis(1)), probe: ten };
        let interval =
            |policy: &Policy, channel| Timing::paced(policy, channel, pace).map(|t| t.interval);
        assert_eq!(interval(&policy, Channel::Requests), ten);
        assert_eq!(interval(&policy, Channel::Publications), Some(Policy::HEARTBEAT));
        policy.alive_interval = Some(Duration::from_secs(5));
        assert!(interval(&policy, Channel::Requests) < Some(Duration::from_secs(3)));
        policy.alive_interval = None;
        policy.probe_fixed = true;
        assert_eq!(interval(&policy, Channel::Requests), Some(Policy::HEARTBEAT));
        policy.heartbeat_interval = None;
        assert_eq!(interval(&policy, Channel::Publications), None);
    }

    #[test]
    fn absurd_times_are_bounded() {
        let mut policy = Policy::new(vec!["m1".into()]);
        policy.alive_interval = Some(Duration::MAX);
        policy.heartbeat_interval = Some(Duration::ZERO);
        policy.attempt_timeout = Duration::MAX;
        let policy = policy.bounded();
        assert_eq!(policy.heartbeat_interval, None);
        assert!(Timing::new(&policy, Channel::Requests).is_some());
        assert_eq!(policy.attempt_timeout, Policy::LONGEST);
    }
}
