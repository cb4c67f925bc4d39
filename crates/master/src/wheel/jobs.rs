//! Wheel `jobs`: what the job cache keeps, for the tools. Unlike an event, the answer to a request
//! has no limit of length.

use saltern_base::Jid;
use saltern_value::{Map, Value};

use super::{Wheel, WheelCall};
use crate::runners::binding::Signature;

/// The functions of this group.
pub(crate) const WHEELS: &[Wheel] = &[
    Wheel {
        name: "jobs.kept_return",
        doc: "What one minion returned to a job: {return: ...}, or nothing when it is not kept.",
        signature: Signature::of(&["jid", "minion"], &[]),
        body: kept_return,
    },
    Wheel {
        name: "jobs.kept_returns",
        doc: "What the named minions returned to a job: {id: {return: ..., retcode: ...}}.",
        signature: Signature::of(&["jid", "minions"], &[]),
        body: kept_returns,
    },
];

fn kept_return(call: &WheelCall) -> Result<Value, String> {
    let jid = call.args.text("jid").ok_or("jid must be text")?;
    let jid = Jid::parse(&jid).map_err(|e| format!("{jid}: {e}"))?;
    let minion = call.args.text("minion").ok_or("minion must be text")?;
    let kept = call.shared.jobs.store().return_of(&jid, &minion).map_err(|e| e.to_string())?;
    Ok(Value::Map(kept.map_or_else(Map::new, |kept| Map::from([("return", kept.value)]))))
}

fn kept_returns(call: &WheelCall) -> Result<Value, String> {
    let jid = call.args.text("jid").ok_or("jid must be text")?;
    let jid = Jid::parse(&jid).map_err(|e| format!("{jid}: {e}"))?;
    let minions = call.args.get("minions").and_then(Value::as_list).ok_or("minions is no list")?;
    let mut kept = Map::new();
    for id in minions.iter().filter_map(Value::as_str) {
        let ret = call.shared.jobs.store().return_of(&jid, id).map_err(|e| e.to_string())?;
        if let Some(ret) = ret {
            kept.insert(id, ret.to_map());
        }
    }
    Ok(Value::Map(kept))
}
