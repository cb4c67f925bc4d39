//! `test`: is the minion there, and what arrives of a call.

use saltern_value::Value;

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "test",
    doc: "Try out minions and the way to them.",
    functions: &[Function::new("ping", "", ping, "Answers True.\n\nCLI Example:\n\n    salt '*' test.ping\n")],
};

fn ping(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(true))
}
