//! The master's decision about a sign-in, for every key state.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

mod common;

use common::{auth_request, identity, private};
use saltern_value::Value;
use saltern_wire::auth::client::{CachedKey, SignIn};
use saltern_wire::auth::server::{
    AuthRequest, Circumstances, Decision, KeyRecord, StoreAction, Verdict, decide,
};

fn request() -> AuthRequest {
    let (_, body) = SignIn::begin(&identity(), &CachedKey::Absent, None).unwrap();
    auth_request(&body)
}

/// The minion's key as a file may have it.
fn same() -> Option<String> {
    Some(private("minion").public().to_pem().replace('\n', "\r\n"))
}

fn other() -> Option<String> {
    Some(private("master").public().to_pem())
}

const PLAIN: Circumstances = Circumstances {
    open_mode: false,
    autosign: false,
    autoreject: false,
    full: false,
    draining: false,
};
const AUTOSIGN: Circumstances = Circumstances { autosign: true, ..PLAIN };
const AUTOREJECT: Circumstances = Circumstances { autoreject: true, ..PLAIN };
const BOTH: Circumstances = Circumstances { autosign: true, ..AUTOREJECT };
const OPEN: Circumstances = Circumstances { open_mode: true, ..PLAIN };
const FULL: Circumstances = Circumstances { full: true, ..BOTH };
const DRAINING: Circumstances = Circumstances { draining: true, ..FULL };

type Row = (Circumstances, Verdict, Option<StoreAction>);

fn check(record: &KeyRecord, rows: &[Row]) {
    for (now, verdict, store) in rows {
        let decision = decide(record, &request(), *now);
        let expected = Decision { verdict: *verdict, store: *store };
        assert_eq!(decision, expected, "{record:?} {now:?}");
    }
}

#[test]
fn an_unknown_id() {
    use StoreAction::{WriteAccepted, WritePending, WriteRejected};
    use Verdict::{Accepted, Draining, Full, Pending, Rejected};
    check(
        &KeyRecord::default(),
        &[
            (PLAIN, Pending, Some(WritePending)),
            (AUTOSIGN, Accepted, Some(WriteAccepted)),
            (AUTOREJECT, Rejected, Some(WriteRejected)),
            (BOTH, Rejected, Some(WriteRejected)),
            (OPEN, Accepted, Some(WriteAccepted)),
            (FULL, Full, None),
            (DRAINING, Draining, None),
        ],
    );
}

#[test]
fn a_pending_key() {
    use StoreAction::{MovePendingToRejected, WriteAccepted, WriteDenied};
    use Verdict::{Accepted, Denied, Full, Pending, Rejected};
    check(
        &KeyRecord { pending: same(), ..KeyRecord::default() },
        &[
            (PLAIN, Pending, None),
            (AUTOSIGN, Accepted, Some(WriteAccepted)),
            (AUTOREJECT, Rejected, Some(MovePendingToRejected)),
            (BOTH, Rejected, Some(MovePendingToRejected)),
            (OPEN, Accepted, Some(WriteAccepted)),
            (FULL, Full, None),
        ],
    );
    check(
        &KeyRecord { pending: other(), ..KeyRecord::default() },
        &[
            (PLAIN, Denied, Some(WriteDenied)),
            (AUTOSIGN, Denied, Some(WriteDenied)),
            (AUTOREJECT, Rejected, Some(MovePendingToRejected)),
            (OPEN, Accepted, Some(WriteAccepted)),
        ],
    );
}

#[test]
fn an_accepted_key() {
    use StoreAction::{WriteAccepted, WriteDenied};
    use Verdict::{Accepted, Denied, Full};
    check(
        &KeyRecord { accepted: same(), pending: other(), rejected: false },
        &[
            (PLAIN, Accepted, None),
            (AUTOSIGN, Accepted, None),
            (AUTOREJECT, Accepted, None),
            (OPEN, Accepted, None),
            (FULL, Full, None),
        ],
    );
    check(
        &KeyRecord { accepted: other(), ..KeyRecord::default() },
        &[
            (PLAIN, Denied, Some(WriteDenied)),
            (AUTOSIGN, Denied, Some(WriteDenied)),
            (AUTOREJECT, Denied, Some(WriteDenied)),
            (OPEN, Accepted, Some(WriteAccepted)),
        ],
    );
}

#[test]
fn a_rejected_id() {
    use Verdict::{Accepted, Rejected};
    let record = KeyRecord { accepted: same(), pending: same(), rejected: true };
    check(
        &record,
        &[
            (PLAIN, Rejected, None),
            (AUTOSIGN, Rejected, None),
            (AUTOREJECT, Rejected, None),
            (OPEN, Accepted, None),
        ],
    );
}

#[test]
fn the_event_says_what_was_decided() {
    let request = request();
    for (verdict, act, result) in [
        (Verdict::Accepted, "accept", true),
        (Verdict::Pending, "pend", true),
        (Verdict::Rejected, "reject", false),
        (Verdict::Denied, "denied", false),
        (Verdict::Full, "full", false),
    ] {
        let event = Decision { verdict, store: None }.event(&request);
        assert_eq!(event.get("act"), Some(&Value::from(act)));
        assert_eq!(event.get("result"), Some(&Value::Bool(result)));
        assert_eq!(event.get_str("id"), Some("minion1"));
        assert_eq!(event.get_str("pub"), Some(private("minion").public().wire_pem()));
    }
}
