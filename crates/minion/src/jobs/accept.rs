//! Whether a publication is a job for this minion.

use std::sync::{Arc, PoisonError};

use saltern_target::{Options, Subject, matches};
use saltern_value::Value;
use saltern_wire::Verified;
use saltern_wire::publish::Publication;

use crate::core::Core;
use crate::jobs::run;
use crate::link::Link;

/// Takes a publication that came through a slot: runs it when it is for us.
pub(crate) fn accept(core: &Arc<Core>, slot: usize, link: &Link, job: Verified<Publication>) {
    if !is_for_us(core, slot, &job) {
        log::trace!("Job {} is for others", job.jid);
        return;
    }
    let jid = job.jid.clone();
    let new = core.seen.lock().unwrap_or_else(PoisonError::into_inner).is_new(jid.as_str());
    if !new {
        log::debug!("Job {jid} was taken before");
        return;
    }
    // Before it runs: a job that is not done when the power fails is better than one done twice.
    link.note_taken(&jid);
    let names = match &job.fun {
        Value::List(funs) => funs.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        fun => fun.as_str().unwrap_or_default().to_owned(),
    };
    match job.user.as_str() {
        "" => log::info!("Executing command {names} with jid {jid}"),
        user => log::info!("User {user} Executing command {names} with jid {jid}"),
    }
    run::start(core, slot, link.name(), jid, job.into_inner().map);
}

fn is_for_us(core: &Core, slot: usize, job: &Publication) -> bool {
    let facts = core.slots.get(slot).map(|s| s.facts()).unwrap_or_default();
    let options = Options {
        delimiter: job.map.get_str("delimiter").unwrap_or(":"),
        nodegroups: Some(&core.access.opts.nodegroups),
    };
    let subject =
        Subject { id: core.id(), grains: Some(&facts.grains), pillar: Some(&facts.pillar) };
    matches(&job.tgt_type, &job.tgt, &options, &subject)
}
