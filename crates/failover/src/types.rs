//! The vocabulary between the machine and the program around it: what it is told, what it asks for.

use std::fmt;
use std::time::{Duration, Instant};

/// A master, as its position in [`crate::Policy::masters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Master(pub usize);

/// One try to reach one master; once adopted, the name of the connection that came of it.
/// Never used twice, so a late answer of an abandoned try is told from a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub u64);

/// One question "are you alive?". Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Probe(pub u64);

/// What the program tells the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin to look for a master.
    Start,
    /// An attempt ended.
    Verdict {
        /// Which one.
        attempt: Attempt,
        /// How.
        verdict: Verdict,
    },
    /// A connection that was adopted is gone.
    Lost {
        /// Which one.
        attempt: Attempt,
        /// Why.
        reason: LossReason,
    },
    /// A probe ended before its deadline.
    Probed {
        /// Which one.
        probe: Probe,
        /// How.
        result: ProbeResult,
    },
    /// The master of this connection answered a request with its session key: a better proof of
    /// life than any probe.
    Heard {
        /// Which connection.
        attempt: Attempt,
    },
    /// A request over this connection was not answered in time: worth a probe at once.
    Suspect {
        /// Which connection.
        attempt: Attempt,
    },
    /// The moment given by [`crate::Machine::wake_at`] has come.
    Wake,
    /// Somebody (an operator, or a master that is being drained) wants us on another master.
    Leave,
    /// The program ends: let go of everything.
    Stop,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Signed in, verified, and subscribed to the publications.
    Ok,
    /// Not now; the same try may succeed later without anybody changing a file.
    Soft(Soft),
    /// Somebody must look at it: keys or settings do not fit together.
    Hard(Hard),
}

/// Why an attempt failed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Soft {
    /// The name has no address.
    Unresolved,
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    Timeout,
    /// The master has as many minions as it wants.
    Full,
    /// Our key waits for somebody to accept it.
    Pending,
    /// Our key was rejected, or differs from the one the master knows.
    Rejected,
    /// The connection broke, or the answer was none we understand.
    Broken,
}

/// Why an attempt failed until somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hard {
    /// The master's key is not vouched for by a signing key we trust, or is not the one we know.
    UntrustedKey,
    /// An answer was not signed by the key it came with.
    BadSignature,
    /// The master does not speak the algorithms we are set to.
    Algorithm,
    /// Something is wrong on our side: a key that cannot be read, say.
    Local,
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The other end closed it, or the network did.
    Closed,
    /// Two probes in a row were not answered.
    Silent,
    /// A probe was refused: nobody listens there any more.
    Refused,
    /// The master no longer takes our key.
    SignedOut,
    /// We were asked to leave.
    Asked,
    /// A master we like better took us.
    Failback,
    /// The program ends.
    Stopped,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// Answered as it should.
    Alive,
    /// Answered with nonsense, or the connection broke; counts as not answered.
    Failed,
    /// Nobody listens.
    Refused,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Resolve the name anew, sign in, subscribe; report with [`Input::Verdict`].
    Try {
        /// The name of this try.
        attempt: Attempt,
        /// Where to.
        master: Master,
    },
    /// Drop what has been reached in this try; its verdict is no longer wanted.
    Abandon {
        /// Which one.
        attempt: Attempt,
    },
    /// From now on this is the connection: jobs come from here and returns go here.
    Adopt {
        /// The try that reached it.
        attempt: Attempt,
        /// Where it leads.
        master: Master,
    },
    /// Close this connection, which is no longer the one in use.
    Disconnect {
        /// Which one.
        attempt: Attempt,
        /// Why, for the log.
        reason: LossReason,
    },
    /// Ask this master whether it lives; report with [`Input::Probed`] before `deadline` is over
    /// (later answers are not heard).
    Probe {
        /// The name of the question.
        probe: Probe,
        /// Whom to ask.
        master: Master,
        /// With the session key of the current connection, so that an impostor cannot answer;
        /// otherwise a clear `ping`.
        authenticated: bool,
        /// How long an answer is waited for.
        deadline: Duration,
    },
    /// Say so on the event bus.
    Notify(Notice),
}

/// What others on this host may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `__master_connected`
    Connected(Master),
    /// `__master_disconnected`
    Disconnected(Master),
    /// `__master_failback`
    Failback(Master),
}

/// Where the machine stands, for logs and local status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not started, or stopped.
    Idle,
    /// Trying masters.
    Searching,
    /// No master took us; the next round begins then.
    Waiting {
        /// When.
        until: Instant,
        /// Every master that answered holds our key for acceptance.
        pending: bool,
    },
    /// Connected.
    Connected {
        /// To which master.
        master: Master,
        /// Through which attempt.
        attempt: Attempt,
        /// Since when.
        since: Instant,
    },
}

impl fmt::Display for Soft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Soft::Unresolved => "its name has no address",
            Soft::Refused => "nobody listens there",
            Soft::Timeout => "no answer in time",
            Soft::Full => "it is full",
            Soft::Pending => "our key waits there for acceptance",
            Soft::Rejected => "it rejected our key",
            Soft::Broken => "the connection broke or the answer made no sense",
        })
    }
}

impl fmt::Display for Hard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hard::UntrustedKey => "its key is not trusted",
            Hard::BadSignature => "its answer is not signed by its key",
            Hard::Algorithm => "it does not speak the algorithms set here",
            Hard::Local => "a local problem",
        })
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossReason::Closed => "connection closed",
            LossReason::Silent => "no answer to two probes",
            LossReason::Refused => "connection refused",
            LossReason::SignedOut => "our key is no longer taken",
            LossReason::Asked => "asked to leave",
            LossReason::Failback => "back to the preferred master",
            LossReason::Stopped => "shutting down",
        })
    }
}
