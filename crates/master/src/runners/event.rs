//! Runner `event`: puts an event on the master's bus.

use saltern_value::{Map, Value};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall};

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[Runner {
    name: "event.send",
    doc: "Fires an event with that tag and data (a mapping) on the bus of this master.\n\n\
          CLI example: salt-run event.send my/tag '{\"key\": \"value\"}'",
    signature: Signature::of(&["tag"], &["data"]),
    body: Body::Blocking(send),
}];

fn send(call: &RunnerCall) -> Result<Value, String> {
    let tag = call.args.text("tag").ok_or("tag must be text")?;
    let data = match call.args.get("data") {
        None => Map::new(),
        Some(Value::Map(data)) => data.clone(),
        Some(other) => {
            return Err(format!("data must be a mapping, not {}", other.type_name()));
        }
    };
    call.shared.fire(&tag, data);
    Ok(true.into())
}
