//! The runners at work: a bound on their number, a list to show, and an end for all of them when
//! the master ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use saltern_base::Jid;
use saltern_value::{Map, Value};
use tokio::task::JoinSet;

use crate::context::lock;

/// Runners at a time. Each may wait long (for minions), so the number is generous.
const MAX_RUNNERS: usize = 256;

/// The runners of one master.
#[derive(Default)]
pub(crate) struct Running {
    tasks: Mutex<JoinSet<()>>,
    listed: Arc<Mutex<BTreeMap<Jid, Map>>>,
}

impl Running {
    /// Starts a runner's task; `false` when too many are at work.
    pub(crate) fn start(
        &self,
        jid: &Jid,
        fun: &str,
        user: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= MAX_RUNNERS {
            return false;
        }
        let listed = Listed::new(&self.listed, jid, fun, user);
        tasks.spawn(async move {
            work.await;
            drop(listed);
        });
        true
    }

    /// The runners at work, as Salt describes them.
    pub(crate) fn list(&self) -> Vec<Map> {
        lock(&self.listed).values().cloned().collect()
    }

    /// Ends all of them now.
    pub(crate) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }
}

/// An entry of the list; gone when its runner is, however that ends.
struct Listed {
    list: Arc<Mutex<BTreeMap<Jid, Map>>>,
    jid: Jid,
}

impl Listed {
    fn new(list: &Arc<Mutex<BTreeMap<Jid, Map>>>, jid: &Jid, fun: &str, user: &str) -> Self {
        let shown = Map::from([
            ("jid", Value::from(jid.as_str())),
            ("fun", format!("runner.{fun}").into()),
            ("user", user.into()),
            ("pid", std::process::id().into()),
        ]);
        lock(list).insert(jid.clone(), shown);
        Listed { list: Arc::clone(list), jid: jid.clone() }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.list).remove(&self.jid);
    }
}
