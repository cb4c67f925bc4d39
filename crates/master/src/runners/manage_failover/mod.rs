//! Runner `manage.failover`: who of the fleet is where, who could go where, and who would be lost
//! if a master died now. From the reports minions send by themselves; only stock minions, which
//! send none, are asked.

mod row;
mod stock;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use saltern_base::time::epoch;
use saltern_value::Value;

use super::binding::Signature;
use super::{Body, Runner, RunnerCall, RunnerFuture};
use row::{Row, Seen};

/// The function of this runner.
pub(crate) const RUNNERS: &[Runner] = &[Runner {
    name: "manage.failover",
    doc: "Who is where, who could go where, and who would be lost if its master died now; the \
          exit status is 1 if anybody would. Minions that are not connected are listed and do \
          not count as lost.\n\nmaster=NAME: only minions on that master, by the name they have \
          for it. only=lost: only minions that would be lost (also: unknown, stale, \
          not_connected, stock; lossy: those that lost something themselves since their start). verbose=True: every minion, also of a large fleet. ask=False: \
          do not ask stock minions for their options.\n\n\
          CLI example: salt-run manage.failover\n    salt-run --out json manage.failover only=lost",
    signature: Signature::of(&[], &["master", "only", "verbose", "ask"]),
    body: Body::Async(failover),
}];

/// What `only` may be.
const KINDS: [&str; 6] = ["lost", "unknown", "stale", "not_connected", "stock", "lossy"];

fn failover(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let only = call.args.text("only");
        if let Some(only) = only.as_deref().filter(|only| !KINDS.contains(only)) {
            return Err(format!("only={only} is not known; there are: {}", KINDS.join(", ")));
        }
        let seen = call.shared.compute(|shared| {
            Ok::<_, String>(Seen {
                accepted: shared.targets.accepted()?.to_vec(),
                connected: shared.presence.connected().into_keys().collect(),
                named: shared.presence.named(),
                reports: shared.readiness.all(),
                now: epoch(SystemTime::now()),
            })
        });
        let seen = seen.await??;
        let asked = if call.args.truth("ask", true) {
            stock::ask(&call.shared, seen.silent()).await
        } else {
            BTreeMap::new()
        };
        let id = call.shared.opts.id.clone();
        let draining = call.shared.drain.wish().is_some();
        let wanted = table::Wanted {
            master: call.args.text("master"),
            only,
            all: call.args.truth("verbose", false),
        };
        let rows: Vec<Row> = seen.rows(&asked);
        let data = tokio::task::spawn_blocking(move || table::data((&id, draining), rows, &wanted))
            .await
            .map_err(|_| "it ended without a result".to_owned())??;
        // The form in which a runner says how it is printed; `safe: False` makes it a failed run.
        Ok(Value::from_iter([("outputter", Value::from("nested")), ("data", data)]))
    })
}

/// Ids in their order.
type Ids = BTreeSet<String>;
