//! Wheel functions: what administers the master itself. They run synchronously for whoever holds
//! the root key; one file per group.

mod config;
mod jobs;
mod key;
mod minions;

use std::sync::Arc;

use saltern_base::Jid;
use saltern_event::tags;
use saltern_value::{Map, Value};

use crate::context::Shared;
use crate::runners::binding::{Arguments, Bound, Signature};

pub(crate) use key::delete_key;

/// One wheel function; it runs on a blocking thread.
pub(crate) struct Wheel {
    /// `module.function`.
    pub(crate) name: &'static str,
    /// What it does, for `doc.wheel`.
    pub(crate) doc: &'static str,
    signature: Signature,
    body: fn(&WheelCall) -> Result<Value, String>,
}

/// One call of a wheel function.
pub(crate) struct WheelCall {
    shared: Arc<Shared>,
    args: Bound,
}

/// All wheel functions.
pub(crate) fn all() -> impl Iterator<Item = &'static Wheel> {
    [config::WHEELS, jobs::WHEELS, key::WHEELS, minions::WHEELS].into_iter().flatten()
}

/// Runs `fun` as `user`; announces it before and after on the bus. The result is what a `wheel`
/// request is answered with: `{tag, data}`.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    fun: &str,
    arguments: Arguments,
    user: &str,
    jid: &Jid,
) -> Map {
    let tag = format!("salt/wheel/{jid}");
    let mut data = Map::from([
        ("fun", format!("wheel.{fun}")),
        ("jid", jid.to_string()),
        ("tag", tag.clone()),
        ("user", user.to_owned()),
    ]);
    shared.fire(&tags::wheel_new(jid.as_str()), data.clone());
    let (value, success) = match call(shared, fun, arguments).await {
        Ok(value) => (value, true),
        Err(why) => (why.into(), false),
    };
    data.insert("return", value);
    data.insert("success", success);
    shared.fire(&tags::wheel_return(jid.as_str()), data.clone());
    Map::from([("tag", Value::from(tag)), ("data", Value::Map(data))])
}

async fn call(shared: &Arc<Shared>, fun: &str, arguments: Arguments) -> Result<Value, String> {
    let wheel = all()
        .find(|wheel| wheel.name == fun)
        .ok_or_else(|| format!("'{fun}' is not available."))?;
    let function = fun.rsplit('.').next().unwrap_or(fun);
    let args = arguments
        .bind(function, &wheel.signature)
        .map_err(|why| format!("Passed invalid arguments: {why}\n\nUsage:\n{}", wheel.doc))?;
    let call = WheelCall { shared: Arc::clone(shared), args };
    let body = wheel.body;
    let result = tokio::task::spawn_blocking(move || body(&call)).await;
    result
        .unwrap_or_else(|_| Err("it ended without a result".to_owned()))
        .map_err(|why| format!("Exception occurred in wheel {fun}: {why}"))
}
