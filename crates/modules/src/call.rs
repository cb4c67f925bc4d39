//! A call of an execution function, and what comes of it.

use saltern_base::Jid;
use saltern_value::{Map, Value};

use crate::error::Error;

/// A call of one function.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `module.function`.
    pub fun: String,
    /// Arguments as published: values, `key=value` texts, and mappings marked by `__kwarg__`.
    pub args: Vec<Value>,
    /// Keyword arguments that are known to be that.
    pub kwargs: Map,
    /// The job this call belongs to.
    pub jid: Option<Jid>,
    /// The publication (`fun`, `arg`, `tgt`, `jid`, `user`, ...); functions with `**kwargs` get
    /// its members as `__pub_<name>`.
    pub publication: Map,
}

impl Call {
    /// A call without a job: `salt-call`, tests, calls between modules.
    #[must_use]
    pub fn new(fun: &str, args: Vec<Value>, kwargs: Map) -> Self {
        Call { fun: fun.to_owned(), args, kwargs, ..Call::default() }
    }
}

/// What a call ended in, ready to be returned to the master.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The return, or the text of the failure in Salt's words.
    pub value: Value,
    /// 0, the function's own code, or 1 after a failure.
    pub retcode: i64,
    /// Whether `retcode` is 0.
    pub success: bool,
    /// The outputter the result asks for (`nested` after failures).
    pub out: Option<String>,
    /// Why there is no result. `salt-call` words its messages itself from this.
    pub failure: Option<Failure>,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No function has this name. `value` holds Salt's text, with the doc of near names if any.
    NotAvailable,
    /// The function said so.
    Failed(Error),
}
