//! Runner `mine`: mine data for the administrator, without the access lists that bind minions.

use saltern_value::Value;
use saltern_wire::command::{MineFun, MineGet};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall};
use crate::handlers::mine::{self, Asker};

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[Runner {
    name: "mine.get",
    doc: "What the targeted minions put into their mine under a function.\n\n\
          CLI example: salt-run mine.get '*' network.interfaces",
    signature: Signature::of(&["tgt", "fun"], &["tgt_type"]),
    body: Body::Blocking(get),
}];

fn get(call: &RunnerCall) -> Result<Value, String> {
    let fun = match call.args.get("fun") {
        Some(Value::List(funs)) => {
            MineFun::Many(funs.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => match call.args.text("fun").ok_or("fun must be a function or a list of them")? {
            funs if funs.contains(',') => {
                MineFun::Many(funs.split(',').map(str::to_owned).collect())
            }
            fun => MineFun::One(fun),
        },
    };
    let wanted = MineGet {
        tgt: call.args.get("tgt").cloned().unwrap_or_default(),
        tgt_type: call.args.text("tgt_type").unwrap_or_else(|| "glob".to_owned()),
        fun,
    };
    mine::get(&call.shared, &Asker::Administrator, &wanted)
}
