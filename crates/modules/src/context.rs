//! What a function sees of its surroundings: the host, its job and the other functions.

use std::cell::Cell;
use std::sync::Arc;

use saltern_value::{Map, Value};

use crate::call::Call;
use crate::error::Error;
use crate::host::Host;
use crate::jobs::Job;
use crate::registry::Registry;

/// The surroundings of one call.
pub struct Context<'a> {
    registry: &'a Registry,
    host: &'a Arc<dyn Host>,
    call: &'a Call,
    job: Arc<Job>,
    retcode: Cell<i64>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        host: &'a Arc<dyn Host>,
        call: &'a Call,
        job: Arc<Job>,
    ) -> Self {
        Context { registry, host, call, job, retcode: Cell::new(0) }
    }

    /// The program around.
    #[must_use]
    pub fn host(&self) -> &dyn Host {
        self.host.as_ref()
    }

    /// All functions.
    #[must_use]
    pub fn registry(&self) -> &'a Registry {
        self.registry
    }

    /// The call that led here, as it was published.
    #[must_use]
    pub fn outer_call(&self) -> &'a Call {
        self.call
    }

    /// The job, to register children with and to sleep in.
    #[must_use]
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// Sets the return code of the whole call (Salt's `__context__['retcode']`).
    pub fn set_retcode(&self, code: i64) {
        self.retcode.set(code);
    }

    /// The return code so far.
    #[must_use]
    pub fn retcode(&self) -> i64 {
        self.retcode.get()
    }

    /// An option of the minion; [`Value::Nil`] when it is not set.
    #[must_use]
    pub fn opt(&self, name: &str) -> Value {
        self.host.opts().get(name).cloned().unwrap_or_default()
    }

    /// Text of an option, when it is text.
    #[must_use]
    pub fn opt_str(&self, name: &str) -> Option<String> {
        self.host.opts().get_str(name).map(str::to_owned)
    }

    /// Runs another function within this call; its return code becomes ours.
    ///
    /// # Errors
    /// That function's, or [`Error::Exception`] when there is none of this name.
    pub fn run(&self, fun: &str, args: Vec<Value>, kwargs: Map) -> Result<Value, Error> {
        self.registry.call_within(self, fun, args, kwargs)
    }
}
