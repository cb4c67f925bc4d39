//! The schedule: what a minion does by itself at set times (option and pillar key `schedule`). It
//! belongs to the minion, not to a connection: a switch to another master neither stops it nor
//! starts a job twice, and what its jobs return goes the way of all returns.

mod job;
mod manage;
mod saved;
mod table;
mod when;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use saltern_base::Jid;
use saltern_value::{Map, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::core::Core;
use crate::jobs;
use table::{Due, Now, Table};

pub(crate) use manage::handle;

/// A schedule without jobs looks around this often all the same.
const IDLE: Duration = Duration::from_secs(3600);

/// The schedule of a running minion.
pub(crate) struct Schedule {
    table: Mutex<Table>,
    /// Wakes the one who waits for the next job.
    changed: Notify,
}

impl Schedule {
    /// With the jobs of the configuration.
    pub(crate) fn new(opts: &Map) -> Self {
        let jobs = opts.get("schedule").and_then(Value::as_map).cloned().unwrap_or_default();
        Schedule { table: Mutex::new(Table::new(jobs, Now::read())), changed: Notify::new() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pillar came from a master with these jobs.
    pub(crate) fn set_pillar(&self, jobs: Map) {
        self.table().set_pillar(jobs, Now::read());
        self.changed.notify_one();
    }
}

/// Starts what is due. Runs for the life of the minion.
pub(crate) async fn run(core: Arc<Core>) {
    let schedule = core.schedule.clone();
    loop {
        let due = schedule.table().due(Now::read(), fastrand::f64);
        for job in due {
            spawn(&core, &schedule, job);
        }
        let idle = schedule.table().idle(Now::read()).unwrap_or(IDLE).min(IDLE);
        // Either way it is looked at anew.
        drop(timeout(idle, schedule.changed.notified()).await);
    }
}

/// `schedule.run_job`.
fn run_by_hand(core: &Arc<Core>, schedule: &Arc<Schedule>, name: &str) {
    let due = schedule.table().by_hand(name);
    match due {
        Some(due) => spawn(core, schedule, due),
        None => log::warn!("The schedule has no job {name} that can run"),
    }
}

fn spawn(core: &Arc<Core>, schedule: &Arc<Schedule>, due: Due) {
    let (core, schedule) = (core.clone(), schedule.clone());
    tokio::spawn(async move {
        sleep(due.delay).await;
        let jid = Jid::at(SystemTime::now());
        log::info!("Running the scheduled job {} with jid {jid}", due.name);
        let job = publication(&core, &due, &jid);
        // The first connection takes the return; the spool keeps it while there is none.
        let slot = core.slots.iter().position(|s| s.link().is_some()).unwrap_or(0);
        jobs::run(&core, slot, &jid, job, due.job.return_job).await;
        schedule.table().ended(&due.name);
    });
}

/// The job as a master would have published it to this minion alone.
fn publication(core: &Core, due: &Due, jid: &Jid) -> Map {
    let mut job = Map::from([
        ("fun", Value::from(due.job.function.as_str())),
        ("arg", Value::List(due.job.arg.clone())),
        ("jid", Value::from(jid.as_str())),
        ("tgt", Value::from(core.id())),
        ("tgt_type", Value::from("glob")),
        ("ret", Value::from("")),
        ("schedule", Value::from(due.name.as_str())),
    ]);
    if let Some(metadata) = &due.job.metadata {
        job.insert("metadata", metadata.clone());
    }
    job
}
