//! `manage_schedule` events on the minion's bus: how the functions of the `schedule` module, in a
//! job or in `salt-call`, change the running schedule. Tags and members are Salt's.

use std::sync::Arc;
use std::time::SystemTime;

use saltern_base::localtime::{local, strftime};
use saltern_base::time::epoch;
use saltern_value::{Map, Value};

use super::{Schedule, saved, table::Now};
use crate::core::Core;

const COMPLETE: &str = "/salt/minion/minion_schedule_";

/// Carries out one event, and says on the bus what the schedule is then.
pub(crate) fn handle(core: &Arc<Core>, schedule: &Arc<Schedule>, data: &Map) {
    let now = Now::read();
    let name = data.get_str("name").unwrap_or_default();
    let persist = data.get("persist").is_some_and(Value::truthy);
    let function = data.get_str("func").unwrap_or_default();
    let (word, wait) = match function {
        "list" => {
            let listed = schedule.table().listed(data.get_str("where"));
            return answer(core, "list_complete", ("schedule", Value::Map(listed)));
        }
        "job_status" => {
            let found = schedule.table().listed(None).get(name).cloned();
            let found = found.unwrap_or_else(|| Value::Map(Map::new()));
            return answer(core, "job_status_complete", ("data", found));
        }
        "get_next_fire_time" => {
            let next = schedule.table().next_start(name, now).map_or(Value::Nil, text);
            return answer(core, "next_fire_time_complete", ("next_fire_time", next));
        }
        "save_schedule" => {
            let done = save(core, schedule);
            return core.bus.fire(format!("{COMPLETE}saved"), Map::from([("complete", done)]));
        }
        "run_job" => return super::run_by_hand(core, schedule, name),
        "delete" => {
            schedule.table().change(now, |jobs| drop(jobs.remove(name)));
            ("delete_complete", persist)
        }
        "add" | "modify" | "reload" => {
            put(schedule, now, function, data);
            ("add_complete", persist)
        }
        "enable" | "disable" => {
            let on = function == "enable";
            schedule.table().change(now, |jobs| drop(jobs.insert("enabled", on)));
            (if on { "enabled_complete" } else { "disabled_complete" }, persist)
        }
        "enable_job" | "disable_job" => {
            let on = function == "enable_job";
            let own = schedule.table().opts().contains_key(name);
            switch(schedule, now, name, on);
            (if on { "enabled_job_complete" } else { "disabled_job_complete" }, persist && own)
        }
        other => {
            log::warn!("The schedule was asked for '{other}', which does not exist here");
            return;
        }
    };
    if wait {
        save(core, schedule);
    }
    schedule.changed.notify_one();
    let all = schedule.table().listed(None);
    answer(core, word, ("schedule", Value::Map(all)));
}

fn answer(core: &Core, word: &str, member: (&str, Value)) {
    let data = Map::from([("complete", Value::Bool(true)), (member.0, member.1)]);
    core.bus.fire(format!("{COMPLETE}{word}"), data);
}

fn text(time: SystemTime) -> Value {
    Value::from(strftime("%Y-%m-%dT%H:%M:%S", &local(time), epoch(time)))
}

/// Jobs of a name are replaced as a whole.
fn put(schedule: &Schedule, now: Now, function: &str, data: &Map) {
    let Some(Value::Map(given)) = data.get("schedule") else { return };
    let given = match given.get("schedule") {
        Some(Value::Map(inner)) if function == "reload" => inner.clone(),
        // `modify` names the job beside its definition.
        _ if function == "modify" => match data.get_str("name") {
            Some(name) if given.get(name).is_none() => {
                Map::from([(name, Value::Map(given.clone()))])
            }
            _ => given.clone(),
        },
        _ => given.clone(),
    };
    schedule.table().change(now, |jobs| jobs.extend(given));
}

fn switch(schedule: &Schedule, now: Now, name: &str, on: bool) {
    let set = |jobs: &mut Map| {
        if let Some(Value::Map(job)) = jobs.get_mut(name) {
            job.insert("enabled", on);
        }
    };
    let mut table = schedule.table();
    if table.opts().contains_key(name) {
        table.change(now, set);
    } else {
        table.change_pillar(now, set);
    }
}

fn save(core: &Core, schedule: &Schedule) -> bool {
    let jobs = schedule.table().opts().clone();
    let path = saved::place(&core.access.opts);
    match saved::write(&path, &jobs) {
        Ok(()) => true,
        Err(error) => {
            log::error!("The schedule cannot be kept in {}: {error}", path.display());
            false
        }
    }
}
