//! What becomes of a sign-in, by what is on record for the id (wire-protocol §4.5).

use saltern_crypto::{PublicKey, same_pem};
use saltern_value::{Map, Value};

use super::notice::Why;
use super::request::AuthRequest;

/// What the key store has for an id. Denied keys do not matter for the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecord {
    /// PEM of the accepted key.
    pub accepted: Option<String>,
    /// PEM of the key that waits for the operator.
    pub pending: Option<String>,
    /// Whether the id is rejected.
    pub rejected: bool,
}

/// What else counts, worked out by the master beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The option `open_mode`.
    pub open_mode: bool,
    /// Any source of automatic acceptance applies to this request.
    pub autosign: bool,
    /// `autoreject_file` names the id.
    pub autoreject: bool,
    /// More than `max_minions` are connected, and this id is not among them.
    pub full: bool,
    /// The master is being emptied, and this id is not among those who are still here.
    pub draining: bool,
}

/// What the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key is accepted: answer with the keys of the session.
    Accepted,
    /// The key waits for the operator.
    Pending,
    /// The key is rejected.
    Rejected,
    /// Another key is on record for the id; the minion is told the same as for a rejected one.
    Denied,
    /// No room for another minion.
    Full,
    /// The master is being emptied.
    Draining,
}

/// What to do with the request's key before answering. Each is one atomic step of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAction {
    /// Write it as pending.
    WritePending,
    /// Write it as rejected.
    WriteRejected,
    /// Move the pending key, whatever it is, to the rejected ones.
    MovePendingToRejected,
    /// Write it as denied, beside what is on record.
    WriteDenied,
    /// Write it as accepted, removing a pending entry of the id.
    WriteAccepted,
}

/// The word `act` of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `accept`
    Accept,
    /// `pend`
    Pend,
    /// `reject`
    Reject,
    /// `denied`
    Denied,
    /// `full`
    Full,
}

/// The outcome for one sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which answer to give.
    pub verdict: Verdict,
    /// What to store first; nothing is answered before it is stored.
    pub store: Option<StoreAction>,
}

/// Decides.
#[must_use]
pub fn decide(record: &KeyRecord, request: &AuthRequest, now: Circumstances) -> Decision {
    let same = |pem: &str| {
        same_pem(pem, &request.pub_pem)
            || PublicKey::from_pem(pem.as_bytes()).is_ok_and(|key| key == request.key)
    };
    let decision = |verdict, store| Decision { verdict, store };
    if now.draining {
        return decision(Verdict::Draining, None);
    }
    if now.full {
        return decision(Verdict::Full, None);
    }
    if now.open_mode {
        let known = record.accepted.as_deref().is_some_and(same);
        return decision(Verdict::Accepted, (!known).then_some(StoreAction::WriteAccepted));
    }
    if record.rejected {
        return decision(Verdict::Rejected, None);
    }
    if let Some(accepted) = &record.accepted {
        return if same(accepted) {
            decision(Verdict::Accepted, None)
        } else {
            decision(Verdict::Denied, Some(StoreAction::WriteDenied))
        };
    }
    match &record.pending {
        None if now.autoreject => decision(Verdict::Rejected, Some(StoreAction::WriteRejected)),
        None if now.autosign => decision(Verdict::Accepted, Some(StoreAction::WriteAccepted)),
        None => decision(Verdict::Pending, Some(StoreAction::WritePending)),
        Some(_) if now.autoreject => {
            decision(Verdict::Rejected, Some(StoreAction::MovePendingToRejected))
        }
        Some(pending) if !same(pending) => {
            decision(Verdict::Denied, Some(StoreAction::WriteDenied))
        }
        Some(_) if now.autosign => decision(Verdict::Accepted, Some(StoreAction::WriteAccepted)),
        Some(_) => decision(Verdict::Pending, None),
    }
}

impl Decision {
    /// `result` of the event.
    #[must_use]
    pub fn result(self) -> bool {
        matches!(self.verdict, Verdict::Accepted | Verdict::Pending)
    }

    /// Why the minion is refused; `None` when it is accepted.
    #[must_use]
    pub fn why(self) -> Option<Why> {
        match self.verdict {
            Verdict::Accepted => None,
            Verdict::Pending => Some(Why::Pending),
            Verdict::Rejected => Some(Why::Rejected),
            Verdict::Denied => Some(Why::Denied),
            Verdict::Full => Some(Why::Full),
            Verdict::Draining => Some(Why::Draining),
        }
    }

    /// `act` of the event.
    #[must_use]
    pub fn act(self) -> Act {
        match self.verdict {
            Verdict::Accepted => Act::Accept,
            Verdict::Pending => Act::Pend,
            Verdict::Rejected => Act::Reject,
            Verdict::Denied => Act::Denied,
            // Salt has no other word for a master that takes nobody.
            Verdict::Full | Verdict::Draining => Act::Full,
        }
    }

    /// The data of the [`super::EVENT_TAG`] event.
    #[must_use]
    pub fn event(self, request: &AuthRequest) -> Map {
        Map::from([
            ("result", Value::Bool(self.result())),
            ("act", Value::from(self.act().name())),
            ("id", Value::from(request.id.as_str())),
            ("pub", Value::from(request.pub_pem.as_str())),
        ])
    }
}

impl Act {
    /// The word itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Act::Accept => "accept",
            Act::Pend => "pend",
            Act::Reject => "reject",
            Act::Denied => "denied",
            Act::Full => "full",
        }
    }
}
