//! Running a job: on a thread of its own, as many at a time as there are places, and what comes
//! of it.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use saltern_base::{Jid, atomic_file};
use saltern_modules::{Call, Outcome};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};
use tokio::sync::oneshot;

use crate::core::Core;
use crate::host::host_of;
use crate::jobs::reply::{self, Done};
use crate::returns::Item;

/// Functions that look at jobs, or end them, never wait for a place: they must work when all are
/// taken.
const NEVER_WAIT: &[&str] = &[
    "saltutil.find_job",
    "saltutil.running",
    "saltutil.is_running",
    "saltutil.kill_job",
    "saltutil.term_job",
    "saltutil.signal_job",
    "saltutil.kill_all_jobs",
    "saltutil.term_all_jobs",
    "test.ping",
];

/// Address space of a job's thread; what is not used takes no memory.
const STACK: usize = 2 << 20;

/// Who hears of a job's end.
struct Asked {
    /// The master that asked, by its name as configured.
    origin: Option<String>,
    /// The number of its begin in the journal.
    begun: Option<u64>,
    /// Whether it returns anything.
    wanted: bool,
}

/// Starts a job that a master has asked for; its return is queued when it is done.
pub(crate) fn start(core: &Arc<Core>, slot: usize, origin: &str, jid: Jid, job: Map) {
    let asked = begin(core, Some(origin), &jid, &job, core.access.opts.pub_ret);
    let core = core.clone();
    tokio::spawn(async move { finally(&core, slot, &jid, job, asked).await });
}

/// Runs a job that nobody asked for to its end, and queues what it returns if that is `wanted`.
pub(crate) async fn run(core: &Arc<Core>, slot: usize, jid: &Jid, job: Map, wanted: bool) {
    let asked = begin(core, None, jid, &job, wanted && core.access.opts.pub_ret);
    finally(core, slot, jid, job, asked).await;
}

/// From now on somebody hears of the job, whatever happens to this program.
fn begin(core: &Core, origin: Option<&str>, jid: &Jid, job: &Map, wanted: bool) -> Asked {
    seen(core).begun(jid.as_str());
    // What only looks at something is asked again by whoever wants to know.
    let begun = if wanted && !at_once(job) { core.returns.begun(origin, job) } else { None };
    Asked { origin: origin.map(str::to_owned), begun, wanted }
}

fn seen(core: &Core) -> std::sync::MutexGuard<'_, saltern_failover::Seen> {
    core.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a job that was cut short returns when the minion has started again.
pub(crate) fn lost(id: &str, job: &Map) -> Map {
    let text = "The job is lost: the minion ended while it ran, or before it did. How far it came \
                is not known";
    reply::load(id, job, Done::One(failure(text.to_owned())))
}

fn at_once(job: &Map) -> bool {
    job.get_str("fun").is_some_and(|fun| NEVER_WAIT.contains(&fun))
}

async fn finally(core: &Arc<Core>, slot: usize, jid: &Jid, job: Map, asked: Asked) {
    let done = in_a_place(core, slot, jid, job).await;
    seen(core).ended(jid.as_str());
    match done {
        Some(load) => finish(core, jid, load, asked),
        // Cut short by the end of the minion: reported at the next start.
        None if core.places.is_closed() => {}
        None => {
            if let Some(begun) = asked.begun {
                core.returns.store.done(begun);
            }
        }
    }
}

/// Runs a job as soon as there is a place; `None` when it returns nothing.
async fn in_a_place(core: &Arc<Core>, slot: usize, jid: &Jid, job: Map) -> Option<Map> {
    let _place = if at_once(&job) {
        None
    } else {
        if core.places.available_permits() == 0 {
            log::warn!("Job {jid} waits: as many jobs run as may run at once");
        }
        // Closed when the minion ends: no new jobs then.
        Some(core.places.clone().acquire_owned().await.ok()?)
    };
    on_a_thread(core, slot, jid, job).await
}

async fn on_a_thread(core: &Arc<Core>, slot: usize, jid: &Jid, job: Map) -> Option<Map> {
    let (sender, receiver) = oneshot::channel();
    let thread = {
        let (core, jid, job) = (core.clone(), jid.clone(), job.clone());
        thread::Builder::new().name("job".to_owned()).stack_size(STACK).spawn(move || {
            // When nobody waits any more the program is ending.
            drop(sender.send(execute(&core, slot, &jid, &job)));
        })
    };
    if let Err(error) = thread {
        log::error!("Job {jid} cannot be started: {error}");
        let text = format!("The job could not be started: {error}");
        return Some(reply::load(core.id(), &job, Done::One(failure(text))));
    }
    receiver.await.unwrap_or_default()
}

fn finish(core: &Core, jid: &Jid, load: Map, asked: Asked) {
    if core.access.opts.cache_jobs {
        keep_copy(core, jid, &load);
    }
    if asked.wanted {
        core.returns.push(Item { closes: asked.begun, ..Item::new(load, asked.origin) });
    }
}

/// `cache_jobs`: the return stays below the cache directory.
fn keep_copy(core: &Core, jid: &Jid, load: &Map) {
    let dir = core.access.opts.cachedir.join("minion_jobs").join(jid.as_str());
    let bytes = msgpack::encode_map(load, Encoding::Bin);
    let written = std::fs::create_dir_all(&dir)
        .and_then(|()| atomic_file::write(&dir.join("return.p"), &bytes, 0o600));
    if let Err(error) = written {
        log::error!("The return of job {jid} cannot be kept in {}: {error}", dir.display());
    }
}

/// Runs a job to its end on this thread; `None` when it was killed and so returns nothing.
fn execute(core: &Arc<Core>, slot: usize, jid: &Jid, job: &Map) -> Option<Map> {
    let running = match core.jobs.start(jid, job) {
        Ok(running) => running,
        Err(error) => {
            log::error!("Job {jid} does not run: {error}");
            let text = format!("The job did not run: {error}");
            return Some(reply::load(core.id(), job, Done::One(failure(text))));
        }
    };
    log::info!("Starting a new job {jid} with PID {}", std::process::id());
    if let Some(returners) = job.get_str("ret").filter(|ret| !ret.is_empty()) {
        log::warn!("Job {jid} names the returners {returners}, of which there are none here");
    }
    let done = match job.get("fun") {
        Some(Value::List(funs)) => Done::Many(
            funs.iter()
                .enumerate()
                .map(|(i, fun)| {
                    let fun = fun.as_str().unwrap_or_default();
                    (fun.to_owned(), one(core, slot, jid, job, fun, nth_arguments(job, i)))
                })
                .collect(),
            core.access.opts.multifunc_ordered,
        ),
        fun => {
            let fun = fun.and_then(Value::as_str).unwrap_or_default();
            let args = job.get("arg").and_then(Value::as_list).unwrap_or_default().to_vec();
            Done::One(one(core, slot, jid, job, fun, args))
        }
    };
    if running.was_killed() {
        log::info!("Job {jid} was ended and returns nothing");
        return None;
    }
    Some(reply::load(core.id(), job, done))
}

/// The arguments of the n-th function of a compound call.
fn nth_arguments(job: &Map, n: usize) -> Vec<Value> {
    let lists = job.get("arg").and_then(Value::as_list).unwrap_or_default();
    match lists.get(n) {
        Some(Value::List(args)) => args.clone(),
        Some(Value::Nil) | None => Vec::new(),
        Some(single) => vec![single.clone()],
    }
}

fn one(
    core: &Arc<Core>,
    slot: usize,
    jid: &Jid,
    job: &Map,
    fun: &str,
    args: Vec<Value>,
) -> Outcome {
    let call = Call {
        fun: fun.to_owned(),
        args,
        kwargs: Map::new(),
        jid: Some(jid.clone()),
        publication: job.clone(),
    };
    let host = host_of(core, slot);
    let run = AssertUnwindSafe(|| core.registry.run(&call, &host));
    panic::catch_unwind(run).unwrap_or_else(|_| {
        log::error!("Job {jid}: {fun} has a fault of its own and was stopped");
        fault()
    })
}

/// The outcome of a function that panicked.
pub(crate) fn fault() -> Outcome {
    failure("The minion function caused an exception: it has a fault of its own".to_owned())
}

fn failure(text: String) -> Outcome {
    Outcome {
        value: Value::Str(text),
        retcode: 1,
        success: false,
        out: Some("nested".to_owned()),
        failure: None,
    }
}
