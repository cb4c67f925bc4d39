//! Runner and wheel functions: executed by the master, asked for by a tool.

use std::time::Duration;

use saltern_event::{Event, client::Subscriber};
use saltern_value::{Map, Value};

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
                return Ok(result(&event.data));
            }
            progress(&event);
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
        answer
            .get("data")
            .and_then(Value::as_map)
            .map(result)
            .ok_or_else(|| ClientError::Protocol("no data in the answer to wheel".into()))
    }
}

fn result(data: &Map) -> RemoteResult {
    RemoteResult {
        ret: data.get("return").cloned().unwrap_or_default(),
        success: data.get("success").is_none_or(Value::truthy),
        out: data.get_str("outputter").or_else(|| data.get_str("out")).map(str::to_owned),
    }
}
