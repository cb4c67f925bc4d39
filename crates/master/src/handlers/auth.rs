//! `_auth`: a minion signs in. Reads the request, works out what applies to it, lets the protocol
//! decide, stores, announces, answers.

use std::fmt::Display;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::sync::MutexGuard;
use std::time::{Duration, SystemTime};

use saltern_base::MinionId;
use saltern_store::StoreError;
use saltern_store::pki::{AcceptedKey, KeyState};
use saltern_value::Map;
use saltern_wire::auth::server::{
    self, AuthRequest, Circumstances, Decision, EVENT_TAG, Grant, KeyRecord, Notice, StoreAction,
    Verdict, Why, decide,
};
use saltern_wire::reply;

use crate::context::{Shared, lock};
use crate::counters::Refusal;

/// Serves one sign-in; computes and touches the disk, so it runs on a thread of the herd.
pub(crate) fn serve(shared: &Shared, load: &Map, peer: SocketAddr) -> Vec<u8> {
    or_bad_load(shared, peer, read(shared, load, peer).and_then(|request| answer(shared, &request)))
}

/// Tells a minion to come again after this time; computes a signature.
pub(crate) fn refuse(shared: &Shared, load: &Map, peer: SocketAddr, after: Duration) -> Vec<u8> {
    let answer = read(shared, load, peer).and_then(|request| {
        log::debug!("Too many sign in at once: {} is to come again after {after:.1?}", request.id);
        let refusal = server::Refusal { why: Why::Busy, retry_after: after, to: None };
        shut_out(shared, &request, &refusal)
    });
    or_bad_load(shared, peer, answer)
}

/// A sign-in that is answered already, or the sentence that says why it cannot be.
enum Unserved {
    Answered(Vec<u8>),
    Failed(String),
}

impl<E: Display> From<E> for Unserved {
    fn from(error: E) -> Self {
        Unserved::Failed(error.to_string())
    }
}

type Served<T> = Result<T, Unserved>;

fn or_bad_load(shared: &Shared, peer: SocketAddr, answer: Served<Vec<u8>>) -> Vec<u8> {
    match answer {
        Ok(reply) | Err(Unserved::Answered(reply)) => reply,
        Err(Unserved::Failed(why)) => {
            shared.counters.refuse(Refusal::Failed, Some(peer), || format!("sign-in ({why})"));
            // The minion takes this for "try again".
            reply::text("bad load")
        }
    }
}

fn read(shared: &Shared, load: &Map, peer: SocketAddr) -> Served<AuthRequest> {
    match AuthRequest::parse_knowing(load, |id| shared.pki.last_seen(id)) {
        Ok(request) => Ok(request),
        Err(refused) => {
            shared.counters.refuse(Refusal::BadSignIn, Some(peer), || refused.to_string());
            Err(Unserved::Answered(refused.reply(shared.keys.private())?))
        }
    }
}

fn answer(shared: &Shared, request: &AuthRequest) -> Served<Vec<u8>> {
    log::info!("Authentication request from {}", request.id);
    let (decision, accepted) = settle(shared, request)?;
    tell(request, decision);
    if shared.opts.auth_events {
        shared.fire(EVENT_TAG, decision.event(request));
    }
    match (decision.why(), accepted) {
        (None, Some(key)) => grant(shared, request, &key),
        // Deleted in this very moment: the minion asks again and is then new.
        (None, None) => shut_out(shared, request, &Why::Pending.into()),
        (Some(Why::Draining), _) => shut_out(shared, request, &shared.drain.refusal()),
        (Some(why), _) => shut_out(shared, request, &why.into()),
    }
}

/// Decides and stores; gives the accepted key, if it is accepted. Looking needs no lock as long as
/// nothing is to be stored; then what was seen is looked at again, one sign-in at a time, so that
/// nothing changes before it is stored.
fn settle(
    shared: &Shared,
    request: &AuthRequest,
) -> Result<(Decision, Option<AcceptedKey>), StoreError> {
    if let Some((key, record)) = comes_again(shared, request)? {
        let decision = decide(&record, request, circumstances(shared, request, &record));
        if decision.store.is_none() {
            return Ok((decision, Some(key)));
        }
    }
    let decision = settle_by_files(shared, request)?;
    let accepted = match decision.verdict {
        Verdict::Accepted => shared.pki.accepted_like(&request.id, Some(&request.key))?,
        _ => None,
    };
    Ok((decision, accepted))
}

/// As [`settle`], of a minion that is new, refused, or comes with another key.
fn settle_by_files(shared: &Shared, request: &AuthRequest) -> Result<Decision, StoreError> {
    let record = recorded(shared, request)?;
    if record.accepted.is_some() || record.rejected {
        let decision = decide(&record, request, circumstances(shared, request, &record));
        if decision.store.is_none() {
            return Ok(decision);
        }
    }
    let _one = one_at_a_time(shared, &request.id);
    let record = recorded(shared, request)?;
    let decision = decide(&record, request, circumstances(shared, request, &record));
    if let Some(action) = decision.store {
        carry_out(shared, request, action)?;
    }
    Ok(decision)
}

/// What is on record for a minion that comes with the key it is accepted with, as nearly all do:
/// two looks at files instead of four that are read. `None` for all others, and when a file is not
/// as it should be.
fn comes_again(
    shared: &Shared,
    request: &AuthRequest,
) -> Result<Option<(AcceptedKey, KeyRecord)>, StoreError> {
    let (pki, id) = (&shared.pki, &request.id);
    let Ok(Some(key)) = pki.accepted_like(id, Some(&request.key)) else { return Ok(None) };
    if key.public().wire_pem() != request.pub_pem {
        return Ok(None);
    }
    let accepted = Some(request.pub_pem.clone());
    // What is pending beside an accepted key does not matter.
    let record = KeyRecord { accepted, pending: None, rejected: pki.has(id, KeyState::Rejected)? };
    Ok(Some((key, record)))
}

/// Held while the keys of an id are changed.
fn one_at_a_time<'a>(shared: &'a Shared, id: &MinionId) -> Option<MutexGuard<'a, ()>> {
    let locks = &shared.sign_in;
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id.as_str());
    let at = usize::try_from(hash % locks.len() as u64).unwrap_or_default();
    locks.get(at).map(lock)
}

fn recorded(shared: &Shared, request: &AuthRequest) -> Result<KeyRecord, StoreError> {
    let stored = shared.pki.lookup(&request.id)?;
    Ok(KeyRecord {
        accepted: stored.accepted,
        pending: stored.pending,
        rejected: stored.rejected.is_some(),
    })
}

/// What applies to this sign-in. Lists are only read, and stubs only used up, for ids about which
/// nothing is decided yet.
fn circumstances(shared: &Shared, request: &AuthRequest, record: &KeyRecord) -> Circumstances {
    let opts = &shared.opts;
    let undecided = !opts.open_mode && !record.rejected && record.accepted.is_none();
    let autoreject = undecided && shared.autosign.rejects(&request.id);
    let autosign = undecided
        && !autoreject
        && shared.autosign.accepts(&request.id, Some(&request.autosign_grains), SystemTime::now());
    Circumstances {
        open_mode: opts.open_mode,
        autosign,
        autoreject,
        full: is_full(shared, request),
        draining: shared.drain.keeps_out(shared, request),
    }
}

/// `max_minions`: whoever is connected may stay.
fn is_full(shared: &Shared, request: &AuthRequest) -> bool {
    let Ok(max) = usize::try_from(shared.opts.max_minions) else { return false };
    // There are never more minions than connections, and those are counted already.
    if max == 0 || shared.presence.connections() < max {
        return false;
    }
    let connected = shared.presence.connected();
    connected.len() >= max && !connected.contains_key(request.id.as_str())
}

fn carry_out(
    shared: &Shared,
    request: &AuthRequest,
    action: StoreAction,
) -> Result<(), StoreError> {
    let (pki, id, pem) = (&shared.pki, &request.id, request.pub_pem.as_str());
    match action {
        StoreAction::WritePending => pki.put(id, KeyState::Pending, pem),
        StoreAction::WriteRejected => pki.put(id, KeyState::Rejected, pem),
        StoreAction::WriteDenied => pki.put(id, KeyState::Denied, pem),
        StoreAction::MovePendingToRejected => {
            pki.transition(id, KeyState::Pending, KeyState::Rejected).map(drop)
        }
        StoreAction::WriteAccepted => {
            // What nobody decided about need not outlast a power cut: it is accepted again.
            match shared.opts.auto_accept {
                true => pki.put_again(id, pem)?,
                false => pki.put(id, KeyState::Accepted, pem)?,
            }
            pki.delete(id, KeyState::Pending).map(drop)
        }
    }
}

fn tell(request: &AuthRequest, decision: Decision) {
    let id = &request.id;
    match (decision.verdict, decision.store) {
        (Verdict::Accepted, _) => log::info!("Authentication accepted from {id}"),
        (Verdict::Pending, Some(_)) => log::info!("New public key for {id} placed in pending"),
        (Verdict::Pending, None) => {
            log::info!("The key of {id} is pending; accept it with salt-key -a {id}");
        }
        (Verdict::Rejected, Some(_)) => {
            log::info!("Public key of {id} rejected: autoreject_file names it");
        }
        (Verdict::Rejected, None) => log::info!("Public key rejected for {id}"),
        (Verdict::Denied, _) => log::error!(
            "Authentication attempt from {id} failed: its public key is not the one on record. \
             The other key is in minions_denied; if the minion was set up anew, delete its key \
             with salt-key -d {id}."
        ),
        (Verdict::Full, _) => {
            log::info!("No room for {id}: max_minions are connected");
        }
        (Verdict::Draining, _) => {
            log::info!("{id} is sent on: this master is being drained");
        }
    }
}

/// The answer to an accepted minion.
fn grant(shared: &Shared, request: &AuthRequest, key: &AcceptedKey) -> Served<Vec<u8>> {
    let session = shared.sessions.for_sign_in(key, SystemTime::now())?;
    let pub_sig = shared.keys.pub_sig(request)?;
    let (aes, former) = shared.keys.shared_and_former();
    let former = former.filter(|_| request.asker.is_some());
    shared.drain.met(&request.id, request.asker.as_ref());
    let grant = Grant {
        publish_port: shared.publish_port,
        pub_sig: pub_sig.as_deref(),
        shared: &aes,
        former: former.as_ref().map(|former| former.key()),
        session: &session,
        notice: Some(&notice(shared, request)),
    };
    Ok(server::accepted(request, shared.keys.private(), grant)?)
}

/// The answer to all others.
fn shut_out(shared: &Shared, request: &AuthRequest, refusal: &server::Refusal) -> Served<Vec<u8>> {
    Ok(server::refused(request, shared.keys.private(), refusal, Some(&notice(shared, request)))?)
}

fn notice(shared: &Shared, request: &AuthRequest) -> Notice {
    notice_to(shared, request.asker.as_ref().is_some_and(|asker| asker.standby))
}

/// What this master says of itself now, to a minion that uses it or only stands by.
pub(super) fn notice_to(shared: &Shared, standby: bool) -> Notice {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let minions = shared.presence.connections() as u64;
    // Who only stands by comes when another master has died, and not alone: what it is told now
    // holds then, so it counts all who have signed in here.
    let crowd = match standby {
        true => minions.max(shared.pki.seen() as u64),
        false => minions,
    };
    Notice {
        version: env!("CARGO_PKG_VERSION"),
        time: now.as_secs_f64(),
        minions,
        heartbeat: pace(crowd, shared.opts.failover_heartbeats_a_second),
        probe: pace(crowd, shared.opts.failover_probes_a_second),
    }
}

/// Shortest pause between two questions that a master asks for: what minions do by themselves.
const PACE_MIN: f64 = 1.5;

/// How long minions are to pause between two questions, so that all of them together ask
/// `a_second` of them; none when the option is 0 (or makes no sense).
fn pace(minions: u64, a_second: i64) -> Option<f64> {
    (a_second > 0).then(|| (minions as f64 / a_second as f64).max(PACE_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_minions_the_longer_they_pause() {
        assert_eq!(pace(0, 1000), Some(PACE_MIN));
        assert_eq!(pace(1500, 1000), Some(PACE_MIN));
        assert_eq!(pace(10_000, 1000), Some(10.0));
        assert_eq!(pace(10_000, 0), None);
        assert_eq!(pace(10_000, -1), None);
    }
}
