//! What `manage.health` says, and which of it this run itself explains.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::world::World;
use crate::Master;

/// What may not be well, with the disturbance that brings it about; empty: the fleet itself does.
const EXPLAINED: &[(&str, &str)] = &[
    // Some minions flap all the time, with jobs for them under way.
    ("publications_lost", ""),
    // A whole swarm, or all minions of a master, come at once.
    ("sign_ins_put_off", ""),
    ("sign_ins_waiting", ""),
    // Programs that get no processor time for seconds, on a machine that is busy enough.
    ("subscribers_silent", ""),
    ("requests_waited", ""),
    // Answers of a megabyte are longer than events may be; the job cache has them whole, and that is
    // looked at.
    ("events_trimmed", ""),
    // Keys are deleted while their minions ask for something.
    ("requests_failed", "KeysDeleted"),
];

/// What a master says of itself.
fn ask(master: &Master) -> Value {
    let output = master.run("salt-run", &["manage.health", "--out", "json"]);
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| json!({"unreadable": output.stdout}))
}

/// What every master says of itself.
pub(super) fn of_all(world: &World) -> Vec<Value> {
    world.masters.iter().map(ask).collect()
}

/// What waits at a master now, by its name.
pub(super) fn queues(master: &Master) -> Map<String, Value> {
    let health = ask(master);
    let lines = health["lines"].as_object().into_iter().flatten();
    let waiting = lines.filter(|(name, _)| name.contains("_waiting"));
    waiting.map(|(name, line)| (name.clone(), line["value"].clone())).collect()
}

/// Everything that is not well and that nothing explains.
pub(super) fn unexplained(health: &[Value], made: &BTreeMap<String, usize>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, said) in health.iter().enumerate() {
        let master = number + 1;
        let Some(lines) = said["lines"].as_object() else {
            complaints.push(format!("master {master} says nothing of its health: {said}"));
            continue;
        };
        let bad =
            lines.iter().filter(|(name, line)| line["ok"] != true && !is_explained(name, made));
        complaints.extend(bad.map(|(name, line)| {
            format!("master {master}: {name} {}: {}", line["value"], line["what"])
        }));
    }
    complaints
}

fn is_explained(name: &str, made: &BTreeMap<String, usize>) -> bool {
    let mut causes = EXPLAINED.iter().filter(|(known, _)| *known == name);
    causes.any(|(_, cause)| cause.is_empty() || made.contains_key(*cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_explains_is_told() {
        let well = json!({"ok": true, "value": 0, "what": ""});
        let bad = json!({"ok": false, "value": 3, "what": "some"});
        let health = |name: &str| json!({"lines": {"uptime": well, name: bad}});
        let none = BTreeMap::new();
        let made = BTreeMap::from([("KeysDeleted".to_owned(), 1)]);
        assert_eq!(unexplained(&[health("events_lost")], &made).len(), 1);
        assert_eq!(unexplained(&[health("publications_lost")], &none).len(), 0);
        assert_eq!(unexplained(&[health("requests_failed")], &none).len(), 1);
        assert_eq!(unexplained(&[health("requests_failed")], &made).len(), 0);
        assert_eq!(unexplained(&[json!("no such runner")], &none).len(), 1);
    }
}
