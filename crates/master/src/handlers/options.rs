//! `_master_opts`: the options of this master that minions compile states with.

use std::sync::Arc;

use saltern_value::{Map, Value};

use super::{Answer, blocking};
use crate::context::Shared;

/// Sent always.
const ENVIRONMENTS: [&str; 3] = ["top_file_merging_strategy", "env_order", "default_top"];

/// Sent unless only environments are asked for.
const STATES: [&str; 12] = [
    "renderer",
    "failhard",
    "state_top",
    "state_top_saltenv",
    "nodegroups",
    "state_auto_order",
    "state_events",
    "state_aggregate",
    "jinja_env",
    "jinja_sls_env",
    "jinja_lstrip_blocks",
    "jinja_trim_blocks",
];

pub(super) async fn serve(shared: &Arc<Shared>, env_only: bool) -> Answer {
    let envs = blocking(shared, |s| s.files.envs()).await?;
    // Minions learn the names of the environments, not where they lie.
    let roots: Map = envs
        .as_list()
        .unwrap_or_default()
        .iter()
        .map(|env| (env.clone(), Value::List(Vec::new())))
        .collect();
    let mut options = Map::from([("file_roots", roots)]);
    let names = ENVIRONMENTS.iter().chain(if env_only { [].iter() } else { STATES.iter() });
    for name in names {
        options.insert(*name, shared.raw_opts.get(name).cloned().unwrap_or_else(|| absent(name)));
    }
    Ok(Value::Map(options))
}

/// Salt's defaults of options that no part of this master uses itself.
fn absent(name: &str) -> Value {
    match name {
        "state_auto_order" => true.into(),
        "failhard"
        | "state_events"
        | "state_aggregate"
        | "jinja_lstrip_blocks"
        | "jinja_trim_blocks" => false.into(),
        "jinja_env" | "jinja_sls_env" => Value::Map(Map::new()),
        _ => Value::Nil,
    }
}
