//! Runner `config`: the options of this master.

use saltern_value::{Value, path};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall};

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[Runner {
    name: "config.get",
    doc: "One option of this master; key may reach into nested values with the delimiter (:). \
          Gives default when there is none.\n\nCLI example: salt-run config.get file_roots:base",
    signature: Signature::of(&["key"], &["default", "delimiter"]),
    body: Body::Blocking(get),
}];

fn get(call: &RunnerCall) -> Result<Value, String> {
    let key = call.args.text("key").ok_or("key must be text")?;
    let delimiter = call.args.text("delimiter").unwrap_or_else(|| ":".to_owned());
    let options = Value::Map(call.shared.raw_opts.clone());
    Ok(path::get(&options, &key, &delimiter)
        .cloned()
        .unwrap_or_else(|| call.args.get("default").cloned().unwrap_or_else(|| Value::from(""))))
}
