//! Runner `cache`: what this master keeps about minions: grains, pillar, mine.

use saltern_base::MinionId;
use saltern_value::{Map, Value};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall};

const TARGET: Signature = Signature::of(&[], &["tgt", "tgt_type"]).and_extra();

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[
    Runner {
        name: "cache.grains",
        doc: "The kept grains of the targeted minions.\n\nCLI example: salt-run cache.grains '*'",
        signature: Signature::of(&["tgt"], &["tgt_type"]).and_extra(),
        body: Body::Blocking(grains),
    },
    Runner {
        name: "cache.pillar",
        doc: "The kept pillar of the targeted minions, or of all.\n\n\
              CLI example: salt-run cache.pillar",
        signature: TARGET,
        body: Body::Blocking(pillar),
    },
    Runner {
        name: "cache.mine",
        doc: "The kept mine of the targeted minions, or of all.\n\n\
              CLI example: salt-run cache.mine",
        signature: TARGET,
        body: Body::Blocking(mine),
    },
    Runner {
        name: "cache.clear_grains",
        doc: "Forgets the grains of the targeted minions.\n\n\
              CLI example: salt-run cache.clear_grains tgt='*'",
        signature: TARGET,
        body: Body::Blocking(|call| clear(call, &[Kept::Grains])),
    },
    Runner {
        name: "cache.clear_pillar",
        doc: "Forgets the pillar of the targeted minions.\n\n\
              CLI example: salt-run cache.clear_pillar tgt='*'",
        signature: TARGET,
        body: Body::Blocking(|call| clear(call, &[Kept::Pillar])),
    },
    Runner {
        name: "cache.clear_mine",
        doc: "Forgets the mine of the targeted minions.\n\n\
              CLI example: salt-run cache.clear_mine tgt='*'",
        signature: TARGET,
        body: Body::Blocking(|call| clear(call, &[Kept::Mine])),
    },
    Runner {
        name: "cache.clear_mine_func",
        doc: "Forgets one function in the mine of the targeted minions.\n\n\
              CLI example: salt-run cache.clear_mine_func tgt='*' \
              clear_mine_func_flag='network.interfaces'",
        signature: Signature::of(&[], &["tgt", "tgt_type", "clear_mine_func_flag"]),
        body: Body::Blocking(clear_mine_func),
    },
    Runner {
        name: "cache.clear_all",
        doc: "Forgets grains, pillar and mine of the targeted minions.\n\n\
              CLI example: salt-run cache.clear_all tgt='*'",
        signature: TARGET,
        body: Body::Blocking(|call| clear(call, &[Kept::Grains, Kept::Pillar, Kept::Mine])),
    },
];

enum Kept {
    Grains,
    Pillar,
    Mine,
}

/// The accepted minions a call means; all of them without a target.
fn targeted(call: &RunnerCall) -> Result<Vec<String>, String> {
    let Some(tgt) = call.args.get("tgt") else {
        return Ok(call.shared.targets.accepted()?.to_vec());
    };
    let tgt_type = call.args.text("tgt_type").unwrap_or_else(|| "glob".to_owned());
    Ok(call.shared.targets.expected(tgt, &tgt_type, ":", false)?.minions)
}

fn grains(call: &RunnerCall) -> Result<Value, String> {
    let cache = &call.shared.cache;
    let known = targeted(call)?.into_iter().filter_map(|id| Some((cache.grains(&id)?, id)));
    Ok(known.map(|(grains, id)| (id, grains)).collect())
}

fn pillar(call: &RunnerCall) -> Result<Value, String> {
    let mut shown = Map::new();
    for id in targeted(call)? {
        if let Some(pillar) = call.shared.cache.pillar(&id).map_err(|e| e.to_string())? {
            shown.insert(id, pillar);
        }
    }
    Ok(Value::Map(shown))
}

fn mine(call: &RunnerCall) -> Result<Value, String> {
    let mut shown = Map::new();
    for id in targeted(call)? {
        if let Some(mine) = call.shared.cache.mine(&id).map_err(|e| e.to_string())? {
            shown.insert(id, mine);
        }
    }
    Ok(Value::Map(shown))
}

fn clear(call: &RunnerCall, what: &[Kept]) -> Result<Value, String> {
    if call.args.get("tgt").is_none() {
        return Ok(false.into());
    }
    let cache = &call.shared.cache;
    for id in targeted(call)? {
        let Ok(id) = MinionId::parse(&id) else { continue };
        for kept in what {
            match kept {
                Kept::Grains => cache.clear_grains(&id),
                Kept::Pillar => cache.clear_pillar(&id),
                Kept::Mine => cache.mine_flush(&id).map(drop),
            }
            .map_err(|e| e.to_string())?;
        }
    }
    Ok(true.into())
}

fn clear_mine_func(call: &RunnerCall) -> Result<Value, String> {
    let Some(fun) = call.args.text("clear_mine_func_flag") else { return Ok(false.into()) };
    if call.args.get("tgt").is_none() {
        return Ok(false.into());
    }
    for id in targeted(call)? {
        let Ok(id) = MinionId::parse(&id) else { continue };
        call.shared.cache.mine_delete(&id, &fun).map_err(|e| e.to_string())?;
    }
    Ok(true.into())
}
