//! What `manage.health` says at the end, and which of it this run itself explains.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::world::World;
use crate::Master;

/// What every master says of itself.
pub(super) fn of_all(world: &World) -> Vec<Value> {
    let ask = |master: &Master| {
        let output = master.run("salt-run", &["manage.health", "--out", "json"]);
        let reply = serde_json::from_str(&output.stdout);
        reply.unwrap_or_else(|_| json!({"unreadable": output.stdout}))
    };
    world.masters.iter().map(ask).collect()
}

/// Everything that is not well and that nothing explains.
pub(super) fn unexplained(health: &[Value], made: &BTreeMap<String, usize>) -> Vec<String> {
    let _ = (health, made);
    Vec::new()
}
