//! `_return`: what a minion answers to a job. It is kept before it is announced, so whoever hears
//! the event finds the return in the job cache.

use std::sync::Arc;

use saltern_base::Jid;
use saltern_event::tags;
use saltern_store::jobs::{NewReturn, Stored};
use saltern_value::msgpack::{Encoding, encode_map};
use saltern_value::{Map, Value};
use saltern_wire::command::{Return, ReturnJid};

use super::{Answer, Caller};
use crate::context::Shared;
use crate::counters::Refusal;

/// Characters of the name of a master that are kept.
const MAX_ORIGIN: usize = 255;

pub(super) async fn store(shared: &Arc<Shared>, from: &Caller, ret: Return) -> Answer {
    if !signature_suffices(shared, from, &ret.load).await? {
        from.refuse(shared, Refusal::NotVerified, "return without the signature required");
        return Ok(false.into());
    }
    let mut load = ret.load;
    let jid = match ret.jid {
        ReturnJid::Job(jid) => jid,
        ReturnJid::Allocate => allocate(shared, from, &mut load),
    };
    let origin = load.get_str("origin").unwrap_or_default().chars().take(MAX_ORIGIN).collect();
    let kept = NewReturn {
        jid: jid.clone(),
        minion: from.id.clone(),
        value: load.get("return").cloned().unwrap_or_default(),
        retcode: load.get("retcode").and_then(Value::as_int),
        success: load.get("success").and_then(Value::as_bool),
        out: load.get_str("out").map(str::to_owned),
        load: record(from, &load),
        origin,
    };
    let failed = match shared.jobs.save_return(kept).await {
        Ok(Stored::New | Stored::NotWanted) => None,
        Ok(Stored::Duplicate) => {
            // Its sender did not hear that it arrived: it does now, and nobody else again.
            log::info!("Minion {} returned job {jid} again; the first return stays", from.id);
            return Ok(Value::Nil);
        }
        Err(error) => {
            log::error!("Return of {} for job {jid} not kept: {error}", from.id);
            Some(format!("the return is not kept: {error}"))
        }
    };
    log::info!("Got return from {} for job {jid}", from.id);
    shared.fire(&tags::job_return(jid.as_str(), from.id.as_str()), load);
    // What is not kept is not acknowledged: the minion brings it again, or to another master.
    failed.map_or(Ok(Value::Nil), Err)
}

/// What the job's record is made of when the job was published by another master, or by nobody:
/// it reads like one that was published to this minion.
fn record(from: &Caller, load: &Map) -> Map {
    let mut record = load.clone();
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
