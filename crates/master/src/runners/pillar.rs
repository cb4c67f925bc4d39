//! Runner `pillar`: compiles pillars for the administrator to look at.

use saltern_base::MinionId;
use saltern_pillar::Request;
use saltern_value::{Map, Value};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall};

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[Runner {
    name: "pillar.show_pillar",
    doc: "The pillar of one minion, compiled from its kept grains; further named arguments are \
          taken as grains, saltenv and pillarenv as themselves.\n\n\
          CLI example: salt-run pillar.show_pillar web1",
    signature: Signature::of(&[], &["minion"]).and_extra(),
    body: Body::Blocking(show_pillar),
}];

fn show_pillar(call: &RunnerCall) -> Result<Value, String> {
    let minion = call.args.text("minion").unwrap_or_else(|| "*".to_owned());
    let id = MinionId::parse(&minion).map_err(|e| format!("{minion}: {e}"))?;
    let mut grains =
        call.shared.cache.grains(&minion).unwrap_or_else(|| Map::from([("fqdn", minion.as_str())]));
    let mut extra = call.args.extra.clone();
    let saltenv = extra.remove("saltenv").and_then(|v| v.as_str().map(str::to_owned));
    let pillarenv = extra.remove("pillarenv").and_then(|v| v.as_str().map(str::to_owned));
    grains.extend(extra);
    Ok(Value::Map(call.shared.pillar.compile(&Request {
        id: &id,
        grains: &grains,
        saltenv: Some(saltenv.as_deref().unwrap_or("base")),
        pillarenv: pillarenv.as_deref(),
        pillar_override: None,
    })))
}
