//! `_auth`: a minion signs in. Reads the request, works out what applies to it, lets the protocol
//! decide, stores, announces, answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use saltern_store::StoreError;
use saltern_store::pki::{AcceptedKey, KeyState};
use saltern_value::Map;
use saltern_wire::auth::server::{
    self, AuthRequest, Circumstances, Decision, EVENT_TAG, Grant, KeyRecord, StoreAction, Verdict,
    decide,
};
use saltern_wire::reply;

use crate::context::{Shared, lock};
use crate::counters::Refusal;

/// Serves one sign-in; everything in it is RSA or disk, so all of it is off the event loop.
pub(crate) async fn sign_in(shared: &Arc<Shared>, load: Map, peer: SocketAddr) -> Vec<u8> {
    let answer = shared.compute(move |shared| answer(shared, &load, peer)).await;
    match answer {
        Ok(Ok(reply)) => reply,
        Ok(Err(why)) | Err(why) => {
            shared.counters.refuse(Refusal::Failed, Some(peer), || format!("sign-in ({why})"));
            // The minion takes this for "try again".
            reply::text("bad load")
        }
    }
}

fn answer(shared: &Shared, load: &Map, peer: SocketAddr) -> Result<Vec<u8>, String> {
    let request = match AuthRequest::parse(load) {
        Ok(request) => request,
        Err(refused) => {
            shared.counters.refuse(Refusal::BadSignIn, Some(peer), || refused.to_string());
            return refused.reply(shared.keys.private()).map_err(|e| e.to_string());
        }
    };
    log::info!("Authentication request from {}", request.id);
    let decision = {
        // One at a time: between looking and storing nothing may change.
        let _one = lock(&shared.sign_in);
        settle(shared, &request).map_err(|e| e.to_string())?
    };
    tell(&request, decision);
    let accepted = match decision.verdict {
        Verdict::Accepted => shared.pki.accepted(&request.id).map_err(|e| e.to_string())?,
        Verdict::Pending | Verdict::Rejected | Verdict::Denied | Verdict::Full => None,
    };
    if shared.opts.auth_events {
        shared.fire(EVENT_TAG, decision.event(&request));
    }
    let master = shared.keys.private();
    match (decision.verdict, accepted) {
        (Verdict::Accepted, Some(key)) => grant(shared, &request, &key),
        // Deleted in this very moment: the minion asks again and is then new.
        (Verdict::Accepted, None) | (Verdict::Pending, _) => {
            server::pending(&request, master).map_err(|e| e.to_string())
        }
        (Verdict::Rejected | Verdict::Denied, _) => {
            server::rejected(&request, master).map_err(|e| e.to_string())
        }
        (Verdict::Full, _) => server::full(&request, master).map_err(|e| e.to_string()),
    }
}

/// Decides and stores.
fn settle(shared: &Shared, request: &AuthRequest) -> Result<Decision, StoreError> {
    let stored = shared.pki.lookup(&request.id)?;
    let record = KeyRecord {
        accepted: stored.accepted,
        pending: stored.pending,
        rejected: stored.rejected.is_some(),
    };
    let decision = decide(&record, request, circumstances(shared, request, &record));
    if let Some(action) = decision.store {
        carry_out(shared, request, action)?;
    }
    Ok(decision)
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
    }
}

/// `max_minions`: whoever is connected may stay.
fn is_full(shared: &Shared, request: &AuthRequest) -> bool {
    let Ok(max) = usize::try_from(shared.opts.max_minions) else { return false };
    if max == 0 {
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
            pki.put(id, KeyState::Accepted, pem)?;
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
    }
}

/// The answer to an accepted minion.
fn grant(shared: &Shared, request: &AuthRequest, key: &AcceptedKey) -> Result<Vec<u8>, String> {
    let session = shared.sessions.for_sign_in(key, SystemTime::now()).map_err(|e| e.to_string())?;
    let pub_sig = shared.keys.pub_sig(request.sig_algo).map_err(|e| e.to_string())?;
    let aes = shared.keys.shared();
    let grant = Grant {
        publish_port: shared.publish_port,
        pub_sig: pub_sig.as_deref(),
        shared: &aes,
        session: &session,
    };
    server::accepted(request, shared.keys.private(), grant).map_err(|e| e.to_string())
}
