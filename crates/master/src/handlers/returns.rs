//! `_return`: what a minion answers to a job. It is kept before it is announced, so whoever hears
//! the event finds the return in the job cache.

use std::net::SocketAddr;
use std::sync::Arc;

use saltern_base::Jid;
use saltern_event::tags;
use saltern_store::StoreError;
use saltern_store::jobs::{ReturnParts, Stored};
use saltern_transport::zeromq::Reply;
use saltern_value::msgpack::{Encoding, encode_map};
use saltern_value::{Map, Value};
use saltern_wire::command::{MinionCommand, ReturnJid};
use saltern_wire::session::server::MinionRequest;

use super::Caller;
use crate::context::Shared;
use crate::counters::Refusal;

/// Characters of the name of a master that are kept.
const MAX_ORIGIN: usize = 255;

/// Takes a return in. It is answered when it would survive a crash, from the thread of the job
/// cache: what waits for the disk holds no place among the requests at work, only one in the queue
/// of the job cache. When that is full it waits for a while; without success there is no answer, so
/// that every kind of minion sends the return again.
pub(crate) async fn take(
    shared: &Arc<Shared>,
    request: MinionRequest,
    peer: SocketAddr,
    reply: Reply,
) {
    let MinionRequest { id, command, replier } = request;
    let from = Caller { id, peer };
    let MinionCommand::Return(ret) = command else { return reply.send(replier.failed()) };
    match signature_suffices(shared, &from, &ret.load).await {
        Ok(true) => {}
        Ok(false) => {
            from.refuse(shared, Refusal::NotVerified, "return without the signature required");
            return reply.send(replier.value(&false.into()));
        }
        Err(why) => {
            from.refuse(shared, Refusal::Failed, &format!("_return ({why})"));
            return reply.send(replier.failed());
        }
    }
    let mut load = ret.load;
    let jid = match ret.jid {
        ReturnJid::Job(jid) => jid,
        ReturnJid::Allocate => allocate(shared, &from, &mut load),
    };
    if !shared.jobs.keeps_returns() {
        announce(shared, &from, &jid, load);
        return reply.send(replier.value(&Value::Nil));
    }
    let origin: String =
        load.get_str("origin").unwrap_or_default().chars().take(MAX_ORIGIN).collect();
    let known = shared.jobs.store().knows(&jid);
    let parts = ReturnParts {
        jid: &jid,
        minion: &from.id,
        value: load.get("return").unwrap_or(&Value::Nil),
        retcode: load.get("retcode").and_then(Value::as_int),
        success: load.get("success").and_then(Value::as_bool),
        out: load.get_str("out"),
        origin: &origin,
        endtime: shared.jobs.endtime(),
        job: (!known).then(|| record(&from, &load)),
    };
    let packed = parts.pack();
    let (of, back) = (Arc::clone(shared), from.clone());
    let queued = shared.jobs.enqueue(packed, move |stored| {
        let answer = match settle(&of, &from, &jid, load, stored) {
            Ok(()) => replier.value(&Value::Nil),
            Err(why) => {
                from.refuse(
                    &of,
                    Refusal::NotKept,
                    &format!("_return (the return is not kept: {why})"),
                );
                replier.failed()
            }
        };
        reply.send(answer);
    });
    if let Err(error) = queued.await {
        back.refuse(shared, Refusal::ReturnsFull, &format!("_return ({error})"));
    }
}

/// What the job cache says of a return: a new one is told to the listeners, one that came before
/// only to its sender.
fn settle(
    shared: &Shared,
    from: &Caller,
    jid: &Jid,
    load: Map,
    stored: Result<Stored, StoreError>,
) -> Result<(), StoreError> {
    match stored {
        Ok(Stored::New | Stored::NotWanted) => {
            announce(shared, from, jid, load);
            Ok(())
        }
        Ok(Stored::Duplicate) => {
            // Its sender did not hear that it arrived: it does now, and nobody else again.
            shared.jobs.note_duplicate();
            log::info!("Minion {} returned job {jid} again; the first return stays", from.id);
            Ok(())
        }
        Err(error) => {
            log::error!("Return of {} for job {jid} not kept: {error}", from.id);
            announce(shared, from, jid, load);
            // What is not kept is not acknowledged: the minion brings it again, or to another
            // master.
            Err(error)
        }
    }
}

fn announce(shared: &Shared, from: &Caller, jid: &Jid, load: Map) {
    log::info!("Got return from {} for job {jid}", from.id);
    shared.fire(&tags::job_return(jid.as_str(), from.id.as_str()), load);
}

/// What the job's record is made of when the job was published by another master, or by nobody:
/// it reads like one that was published to this minion.
fn record(from: &Caller, load: &Map) -> Map {
    let members = load.iter().filter(|(key, _)| key.as_str() != Some("return"));
    let mut record: Map = members.map(|(key, value)| (key.clone(), value.clone())).collect();
    if !record.contains_key("arg") {
        let args = record.get("fun_args").cloned().unwrap_or_else(|| Value::List(Vec::new()));
        record.insert("arg", args);
    }
    if !record.contains_key("tgt") {
        record.insert("tgt_type", "glob");
        record.insert("tgt", from.id.as_str());
    }
    record
}

/// A job the minion started by itself gets its id here, and reads in the job cache like one that
/// was published to this minion.
fn allocate(shared: &Shared, from: &Caller, load: &mut Map) -> Jid {
    let jid = shared.jobs.allocate();
    load.insert("jid", jid.as_str());
    if !load.contains_key("arg") {
        let args = load.get("fun_args").cloned().unwrap_or_else(|| Value::List(Vec::new()));
        load.insert("arg", args);
    }
    load.insert("tgt_type", "glob");
    load.insert("tgt", from.id.as_str());
    jid
}

/// `require_minion_sign_messages` wants a signature on returns, `drop_messages_signature_fail`
/// wants one that is there to be right.
async fn signature_suffices(
    shared: &Arc<Shared>,
    from: &Caller,
    load: &Map,
) -> Result<bool, String> {
    let Some(signature) = load.get("sig").and_then(Value::as_raw).map(<[u8]>::to_vec) else {
        return Ok(!shared.opts.require_minion_sign_messages);
    };
    if !shared.opts.drop_messages_signature_fail {
        return Ok(true);
    }
    let mut signed = load.clone();
    signed.remove("sig");
    let id = from.id.clone();
    shared
        .compute(move |shared| {
            // What Salt's serializer makes of it depends on the age of its MessagePack library.
            let forms = [Encoding::Bin, Encoding::OldRaw].map(|form| encode_map(&signed, form));
            let Ok(Some(minion)) = shared.pki.accepted(&id) else { return false };
            saltern_crypto::SigAlgo::ALL.into_iter().any(|algo| {
                forms.iter().any(|bytes| minion.public().verify(algo, bytes, &signature))
            })
        })
        .await
}
