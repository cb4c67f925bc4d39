//! Whether dependencies between our crates run one way: downwards through the layers that
//! ARCHITECTURE.md draws. Read from cargo's own metadata, so the picture stays true.

use serde_json::Value;

use crate::run::{Done, cargo, output};

/// Crates by layer, lowest first. A crate may use any lower layer, and in its own layer only
/// what `SIDEWAYS` draws.
const LAYERS: &[&[&str]] = &[
    &["base", "value"],
    &["crypto", "zmtp", "wire", "target", "output", "failover"],
    &["transport", "config", "simulate"],
    &["event", "store", "fileserver", "pillar", "grains"],
    &["modules", "client"],
    &["master", "minion", "swarm"],
    &["saltern"],
];

const SIDEWAYS: &[(&str, &str)] =
    &[("wire", "crypto"), ("value", "base"), ("pillar", "fileserver"), ("swarm", "minion")];

/// Crates that must not see the world: no runtime, no sockets.
const PURE: &[&str] =
    &["base", "value", "crypto", "zmtp", "wire", "target", "output", "failover", "simulate"];

/// Fails with every arrow that points the wrong way.
pub fn check() -> Done {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = short(&package["name"]);
        let Some(layer) = layer_of(name) else {
            if !matches!(name, "xtask" | "interop") {
                wrong.push(format!("{name} stands in no layer"));
            }
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter(|d| d["kind"].is_null()) {
            let used = short(&dependency["name"]);
            if PURE.contains(&name) && matches!(used, "tokio" | "socket2") {
                wrong.push(format!("{name} is pure and may not use {used}"));
            }
            let Some(below) = layer_of(used) else { continue };
            if below > layer || (below == layer && !SIDEWAYS.contains(&(name, used))) {
                wrong.push(format!("{name} may not use {used}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("layers: {}", wrong.join("; "))) }
}

fn short(name: &Value) -> &str {
    let name = name.as_str().unwrap_or_default();
    name.strip_prefix("saltern-").unwrap_or(name)
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}
