//! The table of functions: looking them up, binding their arguments, running them, and putting
//! their failures into Salt's words.

use std::sync::Arc;

use saltern_value::{Map, Value};

use crate::bind::{self, Bound, Signature};
use crate::call::{Call, Failure, Outcome};
use crate::context::Context;
use crate::error::Error;
use crate::exec::MODULES;
use crate::host::{Host, HostError};
use crate::jobs::Job;

/// One module: a name and its functions.
pub struct Module {
    /// The part before the dot.
    pub name: &'static str,
    /// What the module is for.
    pub doc: &'static str,
    /// Its functions, in the order of their names.
    pub functions: &'static [Function],
}

/// One function of a module.
pub struct Function {
    /// The part after the dot.
    pub name: &'static str,
    /// Parameters as Python writes them; read by [`Signature::parse`].
    pub signature: &'static str,
    /// The function itself.
    pub run: fn(&Context<'_>, Bound) -> Result<Value, Error>,
    /// What the function does: a sentence, then details.
    pub doc: &'static str,
    /// Calls to learn from, one a line, without the words that come before the function.
    pub example: &'static str,
    /// The outputter its result asks for.
    pub out: Option<&'static str>,
}

impl Function {
    /// A row of a module's table.
    #[must_use]
    pub const fn new(
        name: &'static str,
        signature: &'static str,
        run: fn(&Context<'_>, Bound) -> Result<Value, Error>,
        doc: &'static str,
        example: &'static str,
    ) -> Self {
        Function { name, signature, run, doc, example, out: None }
    }

    /// The text `sys.doc` shows.
    #[must_use]
    pub fn doc_text(&self) -> String {
        let examples: String =
            self.example.lines().map(|line| format!("    salt '*' {line}\n")).collect();
        format!("{}\n\nCLI Example:\n\n{examples}", self.doc)
    }

    /// The same, shown by that outputter.
    #[must_use]
    pub const fn shown_as(mut self, outputter: &'static str) -> Self {
        self.out = Some(outputter);
        self
    }
}

/// All modules there are.
#[derive(Clone, Copy)]
pub struct Registry {
    modules: &'static [&'static Module],
}

impl Registry {
    /// The modules that are compiled in.
    #[must_use]
    pub const fn standard() -> Self {
        Registry { modules: MODULES }
    }

    /// The modules, in the order of their names.
    #[must_use]
    pub fn modules(&self) -> &'static [&'static Module] {
        self.modules
    }

    /// Every function with its full name, in order.
    pub fn functions(&self) -> impl Iterator<Item = (String, &'static Function)> {
        self.modules
            .iter()
            .flat_map(|m| m.functions.iter().map(move |f| (format!("{}.{}", m.name, f.name), f)))
    }

    /// The function of that full name.
    #[must_use]
    pub fn find(&self, fun: &str) -> Option<&'static Function> {
        let (module, name) = fun.split_once('.')?;
        let module = self.modules.iter().find(|m| m.name == module)?;
        module.functions.iter().find(|f| f.name == name)
    }

    /// The master's part of a masterless call: answers the requests `cp` makes, from the options'
    /// `file_roots`. For hosts without a master.
    ///
    /// # Errors
    /// [`HostError::NoMaster`] for what only a master can answer.
    pub fn answer_locally(&self, load: &Map, opts: &Map) -> Result<Value, HostError> {
        crate::local::answer(load, opts)
    }

    /// Runs a call to its end. Never fails: what goes wrong is told in the outcome.
    #[must_use]
    pub fn run(&self, call: &Call, host: &Arc<dyn Host>) -> Outcome {
        let Some(function) = self.find(&call.fun) else {
            return self.not_available(&call.fun);
        };
        let job = call
            .jid
            .as_ref()
            .and_then(|jid| host.jobs().job(jid.as_str()))
            .unwrap_or_else(|| Job::detached(call.jid.as_ref().map_or("", |j| j.as_str())));
        let context = Context::new(self, host, call, job);
        if let Some(error) = blackout(call, host.as_ref()) {
            return failed(call, function, error);
        }
        let result =
            bind_published(function, call).and_then(|bound| (function.run)(&context, bound));
        match result {
            Ok(value) => finished(function, value, context.retcode()),
            Err(error) => failed(call, function, error),
        }
    }

    /// Runs a function on behalf of another one.
    pub(crate) fn call_within(
        &self,
        outer: &Context<'_>,
        fun: &str,
        args: Vec<Value>,
        kwargs: Map,
    ) -> Result<Value, Error> {
        let function =
            self.find(fun).ok_or_else(|| Error::Exception(format!("KeyError: '{fun}'")))?;
        let bound = bind::bind(function, Signature::parse(function.signature), args, kwargs)?;
        (function.run)(outer, bound)
    }

    fn not_available(&self, fun: &str) -> Outcome {
        let text = format!("'{fun}' is not available.");
        let near: Map = self
            .functions()
            .filter(|(name, _)| name.starts_with(fun) && !fun.is_empty())
            .map(|(name, f)| (name, Value::from(f.doc_text())))
            .collect();
        let value = if near.is_empty() {
            Value::Str(text)
        } else {
            let mut docs = near;
            docs.insert(fun, text);
            Value::Map(docs)
        };
        Outcome {
            value,
            retcode: 1,
            success: false,
            out: Some("nested".to_owned()),
            failure: Some(Failure::NotAvailable),
        }
    }
}

/// Whether a master published the call; `salt-call` names itself as its target.
fn from_master(call: &Call) -> bool {
    call.publication.get_str("tgt").is_some_and(|tgt| tgt != "salt-call")
}

/// `minion_blackout` in pillar or grains: jobs from a master are refused, except those of
/// `minion_blackout_whitelist` and the one that can end it.
fn blackout(call: &Call, host: &dyn Host) -> Option<Error> {
    if !from_master(call) || call.fun == "saltutil.refresh_pillar" {
        return None;
    }
    let in_force = |place: &Map| {
        let allowed = place
            .get("minion_blackout_whitelist")
            .and_then(Value::as_list)
            .is_some_and(|list| list.contains(&Value::from(call.fun.as_str())));
        place.get("minion_blackout").is_some_and(Value::truthy) && !allowed
    };
    (in_force(&host.pillar()) || in_force(&host.grains())).then(|| {
        Error::invalid(
            "Minion in blackout mode. Set 'minion_blackout' to False in pillar or grains to \
             resume operations. Only saltutil.refresh_pillar allowed in blackout mode.",
        )
    })
}

fn bind_published(function: &Function, call: &Call) -> Result<Bound, Error> {
    let signature = Signature::parse(function.signature);
    let (positional, mut keywords) = bind::split_published(&signature, &call.args, &call.kwargs)?;
    if signature.kwargs.is_some() {
        for (key, value) in &call.publication {
            keywords.insert(format!("__pub_{}", bind::to_text(key)), value.clone());
        }
        if let (Some(jid), false) = (&call.jid, keywords.contains_key("__pub_jid")) {
            keywords.insert("__pub_jid", jid.as_str());
        }
    }
    bind::bind(function, signature, positional, keywords)
}

/// A return code of 0 does not help a mapping that says `result: False` or `success: False`.
fn finished(function: &Function, value: Value, retcode: i64) -> Outcome {
    let denied = ["result", "success"].iter().any(|k| value.get(k).is_some_and(|v| !v.truthy()));
    let retcode = if retcode == 0 && denied { 1 } else { retcode };
    Outcome {
        value,
        retcode,
        success: retcode == 0,
        out: function.out.map(str::to_owned),
        failure: None,
    }
}

fn failed(call: &Call, function: &Function, error: Error) -> Outcome {
    let fun = &call.fun;
    let text = match &error {
        Error::Execution(text) => format!("ERROR: {text}"),
        Error::Invocation(text) => format!("ERROR executing '{fun}': {text}"),
        Error::NotFound(text) => format!("Command required for '{fun}' not found: {text}"),
        Error::Arguments(text) => {
            format!("Passed invalid arguments to {fun}: {text}\n{}", function.doc_text())
        }
        Error::Exception(text) => format!("The minion function caused an exception: {text}"),
    };
    // `salt-call` tells its user; a daemon has only its log.
    if from_master(call) {
        log::error!("A command in '{fun}' had a problem: {error}");
    }
    Outcome {
        value: Value::Str(text),
        retcode: 1,
        success: false,
        out: Some("nested".to_owned()),
        failure: Some(Failure::Failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestHost, run_call};

    #[test]
    fn a_blackout_refuses_jobs_of_the_master() {
        let mut host = TestHost::new();
        host.pillar = Map::from([
            ("minion_blackout", Value::Bool(true)),
            ("minion_blackout_whitelist", Value::List(vec!["test.echo".into()])),
        ]);
        let host = Arc::new(host);
        let mut call = Call::new("test.ping", Vec::new(), Map::new());
        assert!(run_call(&host, &call).success, "salt-call goes on");
        call.publication = Map::from([("tgt", "*")]);
        let refused = run_call(&host, &call);
        assert!(refused.value.as_str().unwrap().contains("blackout mode"));
        let mut allowed = Call::new("test.echo", vec!["x".into()], Map::new());
        allowed.publication = Map::from([("tgt", "*")]);
        assert!(run_call(&host, &allowed).success);
    }
}
