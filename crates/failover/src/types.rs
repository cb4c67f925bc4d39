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
    /// Anything at all came over the subscription of this connection: an answer to a heartbeat, a
    /// publication, a command.
    Received {
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
    /// Somebody (an operator, or a master that is being drained) wants us on another master. The
    /// connection in use is kept until another master has taken us.
    Leave {
        /// Where to; `None` for the next one that takes us. The master in use = stay there, which
        /// also ends a leave that has not come about yet.
        to: Option<Master>,
        /// Who wants it.
        why: LeaveReason,
    },
    /// A link kept ready after [`Action::Prepare`] is gone: its connection closed.
    Cooled {
        /// To which master.
        master: Master,
    },
    /// The program ends: let go of everything.
    Stop,
}

/// Who wants us to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaveReason {
    /// An operator, by name or to anywhere else; tried once.
    Asked,
    /// The master in use is being emptied; tried until it works.
    Drain,
}

/// One of the two ways a master is heard on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// The subscription: jobs come this way.
    Publications,
    /// Requests and their answers: sign-in, files, pillar, returns.
    Requests,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Our key was rejected there.
    Rejected,
    /// Our key differs from the one the master knows for this id.
    Denied,
    /// Too many sign-ins at once; it said when to come again.
    Busy {
        /// Not before this time has passed.
        retry_after: Duration,
    },
    /// It is being emptied and takes nobody; it said when to ask again.
    Draining {
        /// Not before this time has passed.
        retry_after: Duration,
    },
    /// Its clock and ours are too far apart for what is signed to be taken as fresh.
    Clock {
        /// Whole seconds its clock is ahead of ours; negative when behind.
        ahead: i64,
    },
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
    /// Nothing was heard in time, and a fresh connection to the same master did not come about.
    Silent,
    /// A probe was refused: nobody listens there any more.
    Refused,
    /// The master no longer takes our key.
    SignedOut,
    /// We do not believe the master any more: its key was revoked, or is another one.
    Untrusted,
    /// We were asked to leave.
    Asked,
    /// The master is being emptied and told us to leave.
    Drained,
    /// A fresh connection to the same master took its place.
    Refreshed,
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
        /// Use the link kept since [`Action::Prepare`], so that only the subscription is left to
        /// do; with none at hand the whole way is gone.
        warm: bool,
    },
    /// Resolve, sign in and verify as for a [`Action::Try`], but do not subscribe; report with
    /// [`Input::Verdict`] and keep the link until [`Action::Release`]. [`Action::Abandon`] ends it
    /// before its verdict.
    Prepare {
        /// The name of this try.
        attempt: Attempt,
        /// Where to.
        master: Master,
    },
    /// Close the link kept for this master, if there is one.
    Release {
        /// Which master.
        master: Master,
    },
    /// Drop what has been reached in this try, be it a [`Action::Try`] or a [`Action::Prepare`]; its
    /// verdict is no longer wanted. Comes again when a verdict was under way that says it worked.
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
    /// (later answers are not heard). On [`Channel::Publications`] the question is a ZMTP PING and
    /// [`Input::Received`] is as good an answer.
    Probe {
        /// The name of the question.
        probe: Probe,
        /// Over which connection; `None` for a master that is not in use.
        attempt: Option<Attempt>,
        /// Whom to ask.
        master: Master,
        /// Which way.
        channel: Channel,
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
    /// A fresh connection to the same master replaced one that went silent: no switch, nothing
    /// needs to be fetched anew.
    Refreshed(Master),
    /// The master in use is another one than before; comes right after [`Notice::Connected`].
    Switched {
        /// The master before.
        from: Option<Master>,
        /// The master now.
        to: Master,
        /// Why the one before was left.
        reason: LossReason,
        /// As in [`Switch::gap`].
        gap: Duration,
    },
    /// We were asked to leave ([`LeaveReason::Asked`]) and nobody took us: we stay.
    LeaveFailed {
        /// Where to; `None` for anywhere.
        to: Option<Master>,
        /// What the last master asked said; `None` when there was none to ask.
        verdict: Option<Verdict>,
    },
    /// What [`crate::Machine::readiness`] says has changed.
    Readiness,
}

/// One change of the master in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// When the new one was adopted.
    pub at: Instant,
    /// The master before.
    pub from: Option<Master>,
    /// The master now.
    pub to: Master,
    /// Why the one before was left.
    pub reason: LossReason,
    /// From the moment the old one was given up until the new one was adopted; zero when the new
    /// one was adopted first.
    pub gap: Duration,
}

/// Whether we could be on a master at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// We are there.
    Current,
    /// A full sign-in worked when it was last tried.
    Ready,
    /// It did not; this is what it said.
    NotReady(Verdict),
    /// Not tried yet, or not any more.
    Unknown,
}

impl Ready {
    /// The same but for figures that change from one time to the next.
    pub(crate) fn is_like(&self, other: &Ready) -> bool {
        use std::mem::discriminant;
        match (self, other) {
            (Ready::NotReady(Verdict::Soft(a)), Ready::NotReady(Verdict::Soft(b))) => {
                discriminant(a) == discriminant(b)
            }
            (a, b) => a == b,
        }
    }
}

/// What is known of one master of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Which one.
    pub master: Master,
    /// What is known.
    pub state: Ready,
    /// When that was found out.
    pub checked: Option<Instant>,
    /// A link to it is kept open.
    pub warm: bool,
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
            Soft::Denied => "it knows another key for our id",
            Soft::Broken => "the connection broke or the answer made no sense",
            Soft::Busy { retry_after } => {
                return write!(f, "it is busy for another {} s", retry_after.as_secs_f32());
            }
            Soft::Draining { .. } => "it is being emptied and takes nobody",
            Soft::Clock { ahead } => {
                return write!(f, "its clock and ours are {} s apart", ahead.unsigned_abs());
            }
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Ok => f.write_str("ready"),
            Verdict::Soft(soft) => soft.fmt(f),
            Verdict::Hard(hard) => hard.fmt(f),
        }
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
            LossReason::Silent => "no answer in time",
            LossReason::Refused => "connection refused",
            LossReason::SignedOut => "our key is no longer taken",
            LossReason::Untrusted => "the master's key is not trusted any more",
            LossReason::Asked => "asked to leave",
            LossReason::Drained => "the master is being emptied",
            LossReason::Refreshed => "a fresh connection took its place",
            LossReason::Failback => "back to the preferred master",
            LossReason::Stopped => "shutting down",
        })
    }
}
