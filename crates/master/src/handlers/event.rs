//! `_minion_event`: events of minions on the master's bus. The names of the master's own events
//! are closed to them (CVE-2025-22236, 22239), in both forms of the request.

use std::sync::Arc;

use saltern_base::{Jid, MinionId};
use saltern_value::{Map, Value};
use saltern_wire::command::{Event, MinionEvent};

use super::{Answer, Caller};
use crate::context::Shared;
use crate::counters::Refusal;
use crate::readiness;

pub(super) fn fire(shared: &Arc<Shared>, from: &Caller, event: MinionEvent) -> Answer {
    let events = match event.events {
        Event::Single { tag, load } => vec![(tag, load)],
        Event::Many(events) => events
            .into_iter()
            .map(|(tag, data)| match data {
                Value::Map(data) => (tag, data),
                other => (tag, Map::from([("data", other)])),
            })
            .collect(),
    };
    for (tag, data) in events {
        if tag == "_salt_error" {
            let message = data.get("data").and_then(|d| d.get("message")).and_then(Value::as_str);
            log::error!("Minion {} reports: {}", from.id, message.unwrap_or("an error"));
        }
        if let Some(pretag) = event.pretag.as_deref().filter(|pretag| !pretag.is_empty()) {
            fire_one(shared, from, &format!("{pretag}/{tag}"), data.clone());
        }
        fire_one(shared, from, &tag, data);
    }
    Ok(Value::Nil)
}

/// How the event of a minion ends that gave up returns: `salt/minion/ID/spool/dropped`.
const RETURNS_DROPPED: &str = "/spool/dropped";

fn fire_one(shared: &Shared, from: &Caller, tag: &str, data: Map) {
    if open_to(&from.id, tag) {
        if tag.ends_with(readiness::TAG_END) {
            shared.losses.reported(shared.readiness.note(&from.id, tag, &data));
        }
        if tag.ends_with(RETURNS_DROPPED) {
            let said = data.get("data").and_then(Value::as_map);
            if !shared.losses.dropped(&from.id, said.unwrap_or(&data)) {
                // Its answer was lost: listeners have it already.
                return;
            }
        }
        shared.fire(tag, data);
    } else {
        from.refuse(shared, Refusal::ReservedTag, &format!("event {tag:.80}"));
    }
}

/// Groups below `salt/` that only the master or its tools fire.
const MASTERS_OWN: [&str; 13] = [
    "auth",
    "batch",
    "cloud",
    "cluster",
    "fileserver",
    "key",
    "netapi",
    "presence",
    "reactor",
    "run",
    "stats",
    "syndic",
    "wheel",
];

/// Whether a minion may fire an event of that name. Events that name a minion must name the one
/// that fires them.
fn open_to(id: &MinionId, tag: &str) -> bool {
    let id = id.as_str();
    let mut parts = tag.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("salt"), Some("minion" | "beacon"), named) => named == Some(id),
        // Progress of a job is the only thing about it that is not the master's to say.
        (Some("salt"), Some("job"), Some(_jid)) => {
            matches!(parts.next(), Some("prog" | "sub")) && parts.next() == Some(id)
        }
        (Some("salt"), Some("state_result"), Some(_jid)) => parts.next() == Some(id),
        (Some("salt"), Some("job" | "state_result"), None) | (Some("salt"), None, _) => false,
        (Some("salt"), Some(group), _) => !MASTERS_OWN.contains(&group),
        (Some("minion"), Some("refresh"), _) | (Some("syndic" | "key" | "cluster" | ""), _, _) => {
            false
        }
        // Salt 3006 announces jobs under their bare ids.
        (Some(first), None, _) => Jid::parse(first).is_err(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(tag: &str) -> bool {
        open_to(&MinionId::parse("web1").unwrap(), tag)
    }

    #[test]
    fn minions_speak_for_themselves_only() {
        for tag in [
            "minion_start",
            "salt/minion/web1/start",
            "salt/beacon/web1/load/",
            "salt/job/20260102030405000678/prog/web1/3",
            "salt/state_result/20260102030405000678/web1/nginx",
            "my/app/deployed",
            "salt/custom/thing",
            "_salt_error",
        ] {
            assert!(open(tag), "{tag}");
        }
    }

    #[test]
    fn the_masters_names_are_closed() {
        for tag in [
            "salt/job/20260102030405000678/new",
            "salt/job/20260102030405000678/publish",
            "salt/job/20260102030405000678/ret/web1",
            "salt/job/20260102030405000678/prog/db1/3",
            "salt/job/x",
            "salt/minion/db1/start",
            "salt/beacon/db1/load/",
            "salt/state_result/20260102030405000678/db1/x",
            "salt/key",
            "salt/auth",
            "salt/run/20260102030405000678/ret",
            "salt/wheel/20260102030405000678/new",
            "salt/cluster/peer",
            "salt/cloud/x/creating",
            "salt/presence/change",
            "salt/batch/20260102030405000678/new",
            "minion/refresh/db1",
            "minion/refresh/web1",
            "syndic/s1/salt/job/1/new",
            "key",
            "20260102030405000678",
            "salt",
            "",
        ] {
            assert!(!open(tag), "{tag}");
        }
    }
}
