//! Runner `doc`: the inline documentation of runners and wheel functions.

use saltern_value::Value;

use super::binding::Signature;
use super::{Body, Runner, RunnerCall};

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[
    Runner {
        name: "doc.runner",
        doc: "The documentation of all runner functions.\n\nCLI example: salt-run doc.runner",
        signature: Signature::of(&[], &[]),
        body: Body::Blocking(runner),
    },
    Runner {
        name: "doc.wheel",
        doc: "The documentation of all wheel functions.\n\nCLI example: salt-run doc.wheel",
        signature: Signature::of(&[], &[]),
        body: Body::Blocking(wheel),
    },
];

fn runner(_: &RunnerCall) -> Result<Value, String> {
    Ok(sorted(super::all().map(|r| (r.name, r.doc)).collect()))
}

fn wheel(_: &RunnerCall) -> Result<Value, String> {
    Ok(sorted(crate::wheel::all().map(|w| (w.name, w.doc)).collect()))
}

fn sorted(mut docs: Vec<(&str, &str)>) -> Value {
    docs.sort_unstable();
    docs.into_iter().collect()
}
