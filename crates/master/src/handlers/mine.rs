//! The mine: values minions leave for others, and who may read them.

use std::sync::Arc;

use saltern_base::MinionId;
use saltern_value::{Map, Value};
use saltern_wire::command::{Mine, MineFun, MineGet};

use super::{Answer, Caller, blocking};
use crate::authz::python_match;
use crate::context::Shared;

/// Marks a stored value that carries an access list.
const ACL_MARK: &str = "__saltmine_acl__";
/// Where the value itself lies beside an access list.
const ACL_DATA: &str = "__data__";

/// Who asks for mine data.
pub(crate) enum Asker {
    /// A minion: access lists hold.
    Minion(MinionId),
    /// The administrator of this master.
    Administrator,
}

pub(super) async fn store(shared: &Arc<Shared>, from: &Caller, mine: Mine) -> Answer {
    let id = from.id.clone();
    if !shared.opts.minion_data_cache {
        return Ok(true.into());
    }
    blocking(shared, move |s| s.cache.mine_update(&id, mine.data, mine.clear))
        .await?
        .map_or_else(|e| Err(e.to_string()), |()| Ok(true.into()))
}

pub(super) async fn delete(shared: &Arc<Shared>, from: &Caller, fun: String) -> Answer {
    let id = from.id.clone();
    blocking(shared, move |s| s.cache.mine_delete(&id, &fun))
        .await?
        .map_or_else(|e| Err(e.to_string()), |_| Ok(true.into()))
}

pub(super) async fn flush(shared: &Arc<Shared>, from: &Caller) -> Answer {
    let id = from.id.clone();
    blocking(shared, move |s| s.cache.mine_flush(&id))
        .await?
        .map_or_else(|e| Err(e.to_string()), |was_there| Ok(was_there.into()))
}

pub(super) async fn answer(shared: &Arc<Shared>, from: &Caller, wanted: MineGet) -> Answer {
    let asker = Asker::Minion(from.id.clone());
    blocking(shared, move |s| get(s, &asker, &wanted)).await?
}

/// Mine data of the targeted minions: minion to value for one function, function to minion to
/// value for several.
///
/// # Errors
/// A target that cannot be read, or the data cache's refusal.
pub(crate) fn get(shared: &Shared, asker: &Asker, wanted: &MineGet) -> Answer {
    // Globs in pillar targets would let a minion guess at others' secrets.
    let tgt_type = match wanted.tgt_type.as_str() {
        "pillar" => "pillar_exact",
        "compound" => "compound_pillar_exact",
        other => other,
    };
    let minions = match shared.targets.expected(&wanted.tgt, tgt_type, ":", false) {
        Ok(expected) => expected.minions,
        Err(why) => {
            log::info!("Mine data asked for with an unusable target: {why}");
            Vec::new()
        }
    };
    match &wanted.fun {
        MineFun::One(fun) => Ok(Value::Map(values(shared, asker, &minions, fun)?)),
        MineFun::Many(funs) => {
            let mut all = Map::new();
            for fun in funs {
                let values = values(shared, asker, &minions, fun)?;
                if !values.is_empty() {
                    all.insert(fun.as_str(), values);
                }
            }
            Ok(Value::Map(all))
        }
    }
}

fn values(shared: &Shared, asker: &Asker, ids: &[String], fun: &str) -> Result<Map, String> {
    let mut values = Map::new();
    if let Asker::Minion(id) = asker
        && !listed(shared.raw_opts.get("mine_get"), id, fun)
    {
        return Ok(values);
    }
    for id in ids {
        let Some(entry) = shared.cache.mine_get(id, fun).map_err(|e| e.to_string())? else {
            continue;
        };
        if let Some(value) = readable(shared, asker, entry) {
            values.insert(id.as_str(), value);
        }
    }
    Ok(values)
}

/// The master's option `mine_get`: expressions on the asking id, with the functions it may read.
/// Without the option there is no such rule.
fn listed(rules: Option<&Value>, asker: &MinionId, fun: &str) -> bool {
    let Some(rules) = rules.filter(|rules| !rules.is_nil()) else { return true };
    let Some(rules) = rules.as_map() else { return false };
    rules
        .iter()
        .filter(|(who, _)| who.as_str().is_some_and(|who| python_match(who, asker.as_str())))
        .flat_map(|(_, funs)| funs.as_list().unwrap_or_default())
        .any(|pattern| pattern.as_str().is_some_and(|pattern| python_match(pattern, fun)))
}

/// The value of an entry, if its access list lets the asker have it.
fn readable(shared: &Shared, asker: &Asker, entry: Value) -> Option<Value> {
    let Value::Map(mut with_acl) = entry else { return Some(entry) };
    if !with_acl.contains_key(ACL_MARK) {
        return Some(Value::Map(with_acl));
    }
    let allowed = match (asker, with_acl.get("allow_tgt")) {
        (Asker::Administrator, _) | (_, None) => true,
        (Asker::Minion(id), Some(tgt)) => {
            let tgt_type = with_acl.get_str("allow_tgt_type").unwrap_or("glob");
            shared.targets.means(tgt, tgt_type, id.as_str())
        }
    };
    allowed.then(|| with_acl.remove(ACL_DATA).unwrap_or_default())
}
