//! Wheel group `key`: lists, accepts, rejects and deletes minion keys, as `salt-key` does.

use std::collections::BTreeSet;
use std::sync::Arc;

use saltern_base::MinionId;
use saltern_crypto::{HashType, fingerprint};
use saltern_event::tags;
use saltern_store::pki::{KeyList, KeyState};
use saltern_target::Glob;
use saltern_value::{Map, Value};

use super::{Wheel, WheelCall};
use crate::context::Shared;
use crate::runners::binding::Signature;

const MATCH: Signature = Signature::of(&["match"], &[]);

/// The functions of this group.
pub(super) const WHEELS: &[Wheel] = &[
    Wheel {
        name: "key.list",
        doc: "The keys of one state: accepted, pre (also un), rejected, denied, or all.",
        signature: MATCH,
        body: list,
    },
    Wheel {
        name: "key.list_all",
        doc: "All keys by state, with the master's own.",
        signature: Signature::of(&[], &[]),
        body: |call| Ok(Value::Map(all_keys(&call.shared)?)),
    },
    Wheel {
        name: "key.name_match",
        doc: "The keys that fit a glob, or a comma-separated list of globs, by state.",
        signature: MATCH,
        body: |call| Ok(shown(&matching(call)?)),
    },
    Wheel {
        name: "key.accept",
        doc: "Accepts the pending keys that fit a glob; with include_rejected and include_denied \
              also those.",
        signature: Signature::of(&["match"], &["include_rejected", "include_denied"]),
        body: |call| accept(call, matching(call)?),
    },
    Wheel {
        name: "key.accept_dict",
        doc: "Accepts the keys listed by state.",
        signature: Signature::of(&["match"], &["include_rejected", "include_denied"]),
        body: |call| accept(call, listed(call)?),
    },
    Wheel {
        name: "key.reject",
        doc: "Rejects the pending keys that fit a glob; with include_accepted and include_denied \
              also those.",
        signature: Signature::of(&["match"], &["include_accepted", "include_denied"]),
        body: |call| reject(call, matching(call)?),
    },
    Wheel {
        name: "key.reject_dict",
        doc: "Rejects the keys listed by state.",
        signature: Signature::of(&["match"], &["include_accepted", "include_denied"]),
        body: |call| reject(call, listed(call)?),
    },
    Wheel {
        name: "key.delete",
        doc: "Deletes the keys that fit a glob, in every state.",
        signature: MATCH,
        body: |call| delete(call, matching(call)?),
    },
    Wheel {
        name: "key.delete_dict",
        doc: "Deletes the keys listed by state.",
        signature: MATCH,
        body: |call| delete(call, listed(call)?),
    },
    Wheel {
        name: "key.print",
        doc: "The text of the keys that fit a glob.",
        signature: MATCH,
        body: |call| texts(call, |pem| pem),
    },
    Wheel {
        name: "key.finger",
        doc: "The fingerprints of the keys that fit a glob.",
        signature: Signature::of(&["match"], &["hash_type"]),
        body: |call| {
            let hash = hash_type(call)?;
            texts(call, |pem| fingerprint(&pem, hash))
        },
    },
    Wheel {
        name: "key.finger_master",
        doc: "The fingerprint of this master's key.",
        signature: Signature::of(&[], &["hash_type"]),
        body: |call| {
            let finger = fingerprint(&call.shared.keys.public().to_pem(), hash_type(call)?);
            Ok(local(&finger))
        },
    },
    Wheel {
        name: "key.master_key_str",
        doc: "The text of this master's public key.",
        signature: Signature::of(&[], &[]),
        body: |call| Ok(local(&call.shared.keys.public().to_pem())),
    },
];

/// Keys by state, in Salt's order.
type Keys = Vec<(KeyState, Vec<String>)>;

const STATES: [KeyState; 4] =
    [KeyState::Accepted, KeyState::Pending, KeyState::Rejected, KeyState::Denied];

fn directory(state: KeyState) -> &'static str {
    match state {
        KeyState::Accepted => "minions",
        KeyState::Pending => "minions_pre",
        KeyState::Rejected => "minions_rejected",
        KeyState::Denied => "minions_denied",
    }
}

fn by_state(list: KeyList) -> Keys {
    let KeyList { accepted, pending, rejected, denied } = list;
    STATES.into_iter().zip([accepted, pending, rejected, denied]).collect()
}

fn keys(shared: &Shared) -> Result<Keys, String> {
    shared.pki.list().map(by_state).map_err(|e| e.to_string())
}

fn local(text: &str) -> Value {
    Value::from_iter([("local", Map::from([("master.pub", text)]))])
}

fn hash_type(call: &WheelCall) -> Result<HashType, String> {
    let name = call.args.text("hash_type").unwrap_or_else(|| call.shared.opts.hash_type.clone());
    HashType::parse(&name).ok_or_else(|| format!("there is no hash_type {name}"))
}

fn all_keys(shared: &Shared) -> Result<Map, String> {
    let mut shown: Map =
        keys(shared)?.into_iter().map(|(state, ids)| (directory(state), ids)).collect();
    shown.insert("local", vec!["master.pem".to_owned(), "master.pub".to_owned()]);
    Ok(shown)
}

fn list(call: &WheelCall) -> Result<Value, String> {
    let wanted = call.args.text("match").unwrap_or_default();
    let state = match wanted.as_str() {
        w if w.starts_with("acc") => KeyState::Accepted,
        w if w.starts_with("pre") || w.starts_with("un") => KeyState::Pending,
        w if w.starts_with("rej") => KeyState::Rejected,
        w if w.starts_with("den") => KeyState::Denied,
        w if w.starts_with("all") => return Ok(Value::Map(all_keys(&call.shared)?)),
        _ => return Ok(Value::Map(Map::new())),
    };
    let ids = call.shared.pki.ids(state).map_err(|e| e.to_string())?;
    Ok(Value::from_iter([(directory(state), ids)]))
}

/// The keys a glob names; states without one are left out.
fn matching(call: &WheelCall) -> Result<Keys, String> {
    let patterns = match call.args.get("match") {
        Some(Value::List(items)) => {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => call
            .args
            .text("match")
            .ok_or("match must be text")?
            .split(',')
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    };
    let globs: Vec<Glob> = patterns.iter().map(|p| Glob::new(p.trim())).collect();
    let mut found = keys(&call.shared)?;
    for (_, ids) in &mut found {
        ids.retain(|id| globs.iter().any(|glob| glob.matches(id)));
    }
    found.retain(|(_, ids)| !ids.is_empty());
    Ok(found)
}

/// The keys listed under the names of their states; only those that exist.
fn listed(call: &WheelCall) -> Result<Keys, String> {
    let wanted = call
        .args
        .get("match")
        .and_then(Value::as_map)
        .ok_or("match must be a mapping of minions, minions_pre, ... to lists of ids")?;
    let mut found = keys(&call.shared)?;
    for (state, ids) in &mut found {
        let list = wanted.get(directory(*state)).and_then(Value::as_list).unwrap_or_default();
        ids.retain(|id| list.iter().any(|w| w.as_str() == Some(id)));
    }
    found.retain(|(_, ids)| !ids.is_empty());
    Ok(found)
}

fn shown(keys: &Keys) -> Value {
    keys.iter().map(|(state, ids)| (directory(*state), ids.clone())).collect()
}

fn texts(call: &WheelCall, show: impl Fn(String) -> String) -> Result<Value, String> {
    let mut all = Map::new();
    for (state, ids) in matching(call)? {
        let mut group = Map::new();
        for text in ids {
            let Ok(id) = MinionId::parse(&text) else { continue };
            if let Some(pem) = call.shared.pki.read(&id, state).map_err(|e| e.to_string())? {
                group.insert(text, show(pem));
            }
        }
        all.insert(directory(state), group);
    }
    Ok(Value::Map(all))
}

/// What one kind of change does.
struct Change {
    from: Vec<KeyState>,
    to: KeyState,
    act: &'static str,
}

fn accept(call: &WheelCall, keys: Keys) -> Result<Value, String> {
    let mut from = vec![KeyState::Pending];
    if call.args.truth("include_rejected", false) {
        from.push(KeyState::Rejected);
    }
    if call.args.truth("include_denied", false) {
        from.push(KeyState::Denied);
    }
    change(&call.shared, &keys, &Change { from, to: KeyState::Accepted, act: "accept" })
}

fn reject(call: &WheelCall, keys: Keys) -> Result<Value, String> {
    let mut from = vec![KeyState::Pending];
    if call.args.truth("include_accepted", false) {
        from.push(KeyState::Accepted);
    }
    if call.args.truth("include_denied", false) {
        from.push(KeyState::Denied);
    }
    change(&call.shared, &keys, &Change { from, to: KeyState::Rejected, act: "reject" })
}

fn change(shared: &Shared, keys: &Keys, change: &Change) -> Result<Value, String> {
    let mut moved = Vec::new();
    for (state, ids) in keys.iter().filter(|(state, _)| change.from.contains(state)) {
        for id in ids.iter().filter_map(|id| MinionId::parse(id).ok()) {
            if shared.pki.transition(&id, *state, change.to).map_err(|e| e.to_string())? {
                if *state == KeyState::Accepted {
                    shared.forget_session(&id);
                }
                announce(shared, change.act, &id);
                moved.push(id.to_string());
            }
        }
    }
    if change.to == KeyState::Rejected && !moved.is_empty() {
        shared.keys_withdrawn();
    }
    if moved.is_empty() {
        return Ok(Value::Map(Map::new()));
    }
    moved.sort_unstable();
    Ok(Value::from_iter([(directory(change.to), moved)]))
}

fn delete(call: &WheelCall, keys: Keys) -> Result<Value, String> {
    delete_all(&call.shared, &keys, call.shared.opts.preserve_minion_cache)?;
    Ok(Value::Map(Map::new()))
}

fn delete_all(shared: &Shared, keys: &Keys, keep_cache: bool) -> Result<(), String> {
    let mut gone = BTreeSet::new();
    for (state, ids) in keys {
        for id in ids.iter().filter_map(|id| MinionId::parse(id).ok()) {
            if shared.pki.delete(&id, *state).map_err(|e| e.to_string())? {
                gone.insert(id.to_string());
                announce(shared, "delete", &id);
            }
        }
    }
    for id in gone.iter().filter_map(|id| MinionId::parse(id).ok()) {
        shared.forget_session(&id);
        if !keep_cache && let Err(error) = shared.cache.remove(&id) {
            log::error!("Cached data of {id} not removed: {error}");
        }
    }
    if !gone.is_empty() {
        shared.keys_withdrawn();
    }
    Ok(())
}

fn announce(shared: &Shared, act: &str, id: &MinionId) {
    let data = [("result", Value::from(true)), ("act", act.into()), ("id", id.as_str().into())];
    shared.fire(tags::KEY, Map::from(data));
}

/// Deletes the key of one minion in every state, and unless `keep_cache` what is kept about it.
///
/// # Errors
/// The pki directory's refusal.
pub(crate) async fn delete_key(
    shared: &Arc<Shared>,
    id: &str,
    keep_cache: bool,
) -> Result<(), String> {
    let keys = STATES.map(|state| (state, vec![id.to_owned()])).to_vec();
    shared.compute(move |shared| delete_all(shared, &keys, keep_cache)).await?
}
