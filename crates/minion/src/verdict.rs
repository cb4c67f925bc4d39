//! What failures mean for the choice of a master, and the clear `ping`: the same for this minion
//! and for simulated ones.

use std::time::Duration;

use saltern_failover::{Hard, ProbeResult, Soft, Verdict};
use saltern_transport::zeromq::{LostReason, RequestError, Requester};
use saltern_value::{Map, Value, msgpack};
use saltern_wire::auth::client::Failure;
use saltern_wire::{limits, reply};

/// What a failed connection or request means.
#[must_use]
pub fn of_request(error: &RequestError) -> Soft {
    match error {
        RequestError::Resolve(_) => Soft::Unresolved,
        RequestError::Refused => Soft::Refused,
        RequestError::Timeout | RequestError::Unreachable(_) => Soft::Timeout,
        RequestError::Closed | RequestError::Protocol(_) => Soft::Broken,
    }
}

/// What a subscription that could not be made means.
#[must_use]
pub fn of_subscription(reason: &LostReason) -> Soft {
    match reason {
        LostReason::Resolve(_) => Soft::Unresolved,
        LostReason::Refused => Soft::Refused,
        LostReason::Unreachable(_) | LostReason::Timeout | LostReason::Silent => Soft::Timeout,
        LostReason::Closed | LostReason::Protocol(_) => Soft::Broken,
    }
}

/// What an answer to a sign-in that does not hold means.
#[must_use]
pub fn of_sign_in(failure: &Failure) -> Verdict {
    match failure {
        Failure::Refused(_) | Failure::WrongNonce => Verdict::Soft(Soft::Broken),
        Failure::BadSigAlgo | Failure::BadEncAlgo => Verdict::Hard(Hard::Algorithm),
        Failure::Crypto(_) | Failure::NoVerificationKey | Failure::CachedKeyUnreadable => {
            Verdict::Hard(Hard::Local)
        }
        Failure::KeyChanged
        | Failure::UnexpectedPubSig
        | Failure::MissingPubSig
        | Failure::BadPubSig
        | Failure::Revoked(_)
        | Failure::WrongFinger { .. } => Verdict::Hard(Hard::UntrustedKey),
        Failure::Malformed(_)
        | Failure::Unsigned
        | Failure::BadSignature
        | Failure::BadAesKey
        | Failure::BadSessionKey
        | Failure::BadToken => Verdict::Hard(Hard::BadSignature),
    }
}

/// The clear `ping`: says that requests are answered there, not by whom.
pub async fn ping(requester: &Requester, deadline: Duration) -> ProbeResult {
    let load = Map::from([("cmd", "ping")]);
    let body = reply::map(&Map::from([
        ("enc", Value::from("clear")),
        ("load", Value::Map(load)),
        ("version", Value::Int(limits::PROTOCOL_VERSION)),
    ]));
    match requester.request(body, deadline).await {
        Ok(answer) => {
            let echo = msgpack::from_network(&answer).ok();
            let ours = echo.is_some_and(|e| e.get("cmd").and_then(Value::as_str) == Some("ping"));
            if ours { ProbeResult::Alive } else { ProbeResult::Failed }
        }
        Err(RequestError::Refused) => ProbeResult::Refused,
        Err(error) => {
            log::debug!("No answer to a ping from {}: {error}", requester.address());
            ProbeResult::Failed
        }
    }
}
