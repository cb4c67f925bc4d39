//! Wheel group `config`: the options of this master.

use saltern_value::Value;

use super::Wheel;
use crate::runners::binding::Signature;

/// The functions of this group.
pub(super) const WHEELS: &[Wheel] = &[Wheel {
    name: "config.values",
    doc: "Every option of this master.",
    signature: Signature::of(&[], &[]),
    body: |call| Ok(Value::Map(call.shared.raw_opts.clone())),
}];
