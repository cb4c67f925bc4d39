//! Runner and wheel functions: executed by the master, asked for by a tool.

use std::time::Duration;

use saltern_base::Jid;
use saltern_event::{Event, client::Subscriber};
use saltern_value::{Map, Value};

use crate::local::trimmed;
use crate::{ClientError, Connection};

/// A function of the master.
#[derive(Clone, Debug, Default)]
pub struct RemoteCall {
    /// `module.function`.
    pub fun: String,
    /// Positional arguments.
    pub arg: Vec<Value>,
    /// Keyword arguments.
    pub kwarg: Map,
}

/// What a function of the master ended in.
#[derive(Clone, Debug)]
pub struct RemoteResult {
    /// What it returned.
    pub ret: Value,
    /// Whether it succeeded.
    pub success: bool,
    /// The outputter it asks for.
    pub out: Option<String>,
}

impl Connection {
    /// Starts a runner and returns its tag (`salt/run/<jid>`) without waiting for its end.
    ///
    /// # Errors
    /// When the master cannot be reached or refuses.
    pub async fn start_runner(&self, call: &RemoteCall) -> Result<String, ClientError> {
        let load = Map::from([
            ("cmd", Value::from("runner")),
            ("fun", call.fun.as_str().into()),
            ("arg", Value::List(call.arg.clone())),
            ("kwarg", Value::Map(call.kwarg.clone())),
        ]);
        let answer = self.command(load, Duration::from_secs(15)).await?;
        answer
            .get("tag")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| ClientError::Protocol("no tag in the answer to runner".into()))
    }

    /// Runs a runner to its end; `progress` sees its other events (`<tag>/...`) meanwhile.
    ///
    /// # Errors
    /// When the master cannot be reached, refuses, or ends.
    pub async fn runner(
        &self,
        call: &RemoteCall,
        mut progress: impl FnMut(&Event),
    ) -> Result<RemoteResult, ClientError> {
        let mut events: Subscriber = self.events().await?;
        let tag = self.start_runner(call).await?;
        events.filter(tag.clone());
        let last = format!("{tag}/ret");
        loop {
            let Ok(Some(event)) = events.next().await else {
                return Err(ClientError::MasterEnded);
            };
            if event.tag == last {
                return Ok(self.whole(event.data).await);
            }
            progress(&event);
        }
    }

    /// The result in the last event of a runner; one that was too long for the bus comes from
    /// the job cache.
    async fn whole(&self, mut data: Map) -> RemoteResult {
        if data.get("return").is_some_and(trimmed)
            && let Some(jid) = data.get_str("jid").and_then(|jid| Jid::parse(jid).ok())
            && let Some(Value::Map(kept)) = self.kept_return(&jid, &self.master_id).await
        {
            data = kept;
        }
        result(data)
    }

    /// What one minion returned to a job, from the job cache.
    pub(crate) async fn kept_return(&self, jid: &Jid, minion: &str) -> Option<Value> {
        let args = Map::from([("jid", jid.as_str()), ("minion", minion)]);
        let result = self.wheel("jobs.kept_return", args).await.ok()?;
        match result.ret {
            Value::Map(mut kept) if result.success => kept.remove("return"),
            _ => None,
        }
    }

    /// What those minions returned to a job, from the job cache; of those that did not, nothing.
    pub(crate) async fn kept_returns(&self, jid: &Jid, minions: &[String]) -> Map {
        let args = Map::from([
            ("jid", Value::from(jid.as_str())),
            ("minions", Value::from(minions.to_vec())),
        ]);
        match self.wheel("jobs.kept_returns", args).await {
            Ok(RemoteResult { ret: Value::Map(kept), success: true, .. }) => kept,
            // A master of an earlier version knows no such function.
            _ => Map::new(),
        }
    }

    /// Runs a wheel function.
    ///
    /// # Errors
    /// When the master cannot be reached or refuses.
    pub async fn wheel(&self, fun: &str, args: Map) -> Result<RemoteResult, ClientError> {
        let mut load = Map::from([("cmd", "wheel"), ("fun", fun)]);
        for (name, value) in args {
            load.insert(name, value);
        }
        let answer = self.command(load, Duration::from_secs(60)).await?;
        match answer {
            Value::Map(mut answer) => answer.remove("data"),
            _ => None,
        }
        .and_then(|data| if let Value::Map(data) = data { Some(result(data)) } else { None })
        .ok_or_else(|| ClientError::Protocol("no data in the answer to wheel".into()))
    }
}

fn result(mut data: Map) -> RemoteResult {
    let ret = data.remove("return").unwrap_or_default();
    let success = data.get("success").is_none_or(Value::truthy);
    match ret {
        // What a function returns to say how it is to be printed.
        Value::Map(mut shown)
            if shown.len() == 2
                && shown.contains_key("data")
                && shown.contains_key("outputter") =>
        {
            let out = shown.get_str("outputter").map(str::to_owned);
            RemoteResult { ret: shown.remove("data").unwrap_or_default(), success, out }
        }
        ret => RemoteResult { ret, success, out: data.get_str("outputter").map(str::to_owned) },
    }
}
