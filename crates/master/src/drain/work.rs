//! The task that carries a drain out, and takes it back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use saltern_base::{Jid, MinionId};
use saltern_store::jobs::JobRecord;
use saltern_value::{Map, Value};
use tokio::time::sleep;

use super::{Left, Wish, lock};
use crate::context::Shared;
use crate::publish::{PublishError, new_job};
use crate::runners::ping;

/// Time between two looks at who is left.
const TICK: Duration = Duration::from_millis(200);
/// What masters and tools ask while they wait: nobody misses an answer to it.
const QUESTIONS: [&str; 3] = [LEAVE, "saltutil.running", "saltutil.find_job"];
/// The function that makes a minion of ours leave.
const LEAVE: &str = "failover.leave";
/// Jobs older than this do not run any more unless a minion says so.
const OLDEST_JOB: Duration = Duration::from_secs(86_400);
/// Time between two questions which jobs run.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Before a minion says that it does not know a job, it must have had time to begin it.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// How long after its time a minion of ours is told again.
const TELL_AGAIN: Duration = Duration::from_secs(15);
/// Jobs kept so shortly before the drain count as published in it.
const SPARE: Duration = Duration::from_secs(5);
/// How long after its time a minion of ours that is on other masters too is let go.
const LATE: Duration = Duration::from_secs(1);
/// How long minions may take to say what they run.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Drains when that is wanted, for as long as the master runs.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut wishes = shared.drain.wish.subscribe();
    loop {
        let wish = wishes.borrow_and_update().clone();
        match wish {
            None => {
                listen(&shared).await;
                if wishes.changed().await.is_err() {
                    return;
                }
            }
            Some(wish) => {
                tokio::select! {
                    () = empty(&shared, wish) => {}
                    changed = wishes.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// Opens the publish port, however long that takes.
async fn listen(shared: &Arc<Shared>) {
    let publisher = &shared.drain.publisher;
    let mut failed = false;
    while let Err(error) = publisher.listen_again() {
        if !failed {
            log::error!("The publish port {} cannot be opened: {error}", publisher.local_addr());
        }
        failed = true;
        sleep(TICK).await;
        if shared.drain.wish().is_some() {
            return;
        }
    }
}

/// Never ends: a master that is empty is kept so.
async fn empty(shared: &Arc<Shared>, wish: Wish) {
    log::warn!(
        "This master is being drained{}: it takes no minions until salt-run master.undrain",
        wish.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default()
    );
    shared.drain.publisher.stop_listening().await;
    let mut work = Work::new(wish);
    let known = unfinished(shared, before(OLDEST_JOB)).await;
    work.note(known, &attached(shared), |id| is_ours(shared, id));
    let (mut told, mut asked) = (None, None);
    loop {
        let now = Instant::now();
        let again = work.wish.within + TELL_AGAIN;
        if told.is_none_or(|at| now.duration_since(at) > again) {
            tell(shared, &work.wish).await;
            told = Some(Instant::now());
        }
        if asked.is_none_or(|at| now.duration_since(at) > ASK_EVERY) && work.has_jobs_to_ask() {
            let question = tokio::spawn(running(Arc::clone(shared), work.with_jobs()));
            work.question = Some(question);
            asked = Some(Instant::now());
        }
        work.hear().await;
        work.step(shared).await;
        sleep(TICK).await;
    }
}

/// A job and one of its minions.
type Pair = (Jid, String);

/// A drain under way.
struct Work {
    wish: Wish,
    began: Instant,
    /// When that was by the clock, with something to spare.
    since: SystemTime,
    /// The jobs in `running`.
    jobs: HashMap<Jid, (String, SystemTime)>,
    /// What was published here and is not returned.
    running: BTreeSet<Pair>,
    /// Those of them that their minion did not know when it was asked last.
    denied: BTreeSet<Pair>,
    /// Jobs that were looked at and are not finished.
    seen: HashSet<Jid>,
    /// When each stock minion is let go, if it has no job.
    leaves: HashMap<String, Instant>,
    question: Option<tokio::task::JoinHandle<HashMap<String, BTreeSet<String>>>>,
    empty: bool,
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(question) = &self.question {
            question.abort();
        }
    }
}

impl Work {
    fn new(wish: Wish) -> Self {
        Work {
            wish,
            began: Instant::now(),
            since: before(SPARE),
            jobs: HashMap::new(),
            running: BTreeSet::new(),
            denied: BTreeSet::new(),
            seen: HashSet::new(),
            leaves: HashMap::new(),
            question: None,
            empty: false,
        }
    }

    /// Looks at what is not returned: jobs seen before may have ended, new ones may run on
    /// whoever is here.
    fn note(
        &mut self,
        unfinished: Vec<Job>,
        here: &BTreeMap<String, bool>,
        spools: impl Fn(&str) -> bool,
    ) {
        let (mut seen, mut running, mut jobs) = (HashSet::new(), BTreeSet::new(), HashMap::new());
        for Job { jid, fun, created, minions } in unfinished {
            let new = !self.seen.contains(&jid);
            for minion in minions {
                let pair = (jid.clone(), minion);
                if (new && here.contains_key(&pair.1)) || self.running.contains(&pair) {
                    running.insert(pair);
                    jobs.entry(jid.clone()).or_insert_with(|| (fun.clone(), created));
                }
            }
            seen.insert(jid);
        }
        // Who has left without having begun a job will not return it, and who has left with a
        // spool returns it to whichever master lives.
        running.retain(|pair| {
            here.contains_key(&pair.1) || !(self.denied.contains(pair) || spools(&pair.1))
        });
        self.denied.retain(|pair| running.contains(pair));
        (self.seen, self.running, self.jobs) = (seen, running, jobs);
    }

    /// Jobs kept before this time are no news.
    fn look_since(&self) -> SystemTime {
        self.jobs.values().map(|(_, created)| *created).fold(self.since, SystemTime::min)
    }

    fn has_jobs_to_ask(&self) -> bool {
        self.question.is_none() && !self.running.is_empty()
    }

    /// Minions with jobs.
    fn with_jobs(&self) -> Vec<Value> {
        let minions: BTreeSet<&str> = self.running.iter().map(|(_, id)| id.as_str()).collect();
        minions.into_iter().map(Value::from).collect()
    }

    /// Takes the answer to the question which jobs run, if it is there: what a minion does not
    /// know will not be returned.
    async fn hear(&mut self) {
        let Some(question) = self.question.take_if(|question| question.is_finished()) else {
            return;
        };
        let Ok(answers) = question.await else { return };
        let now = SystemTime::now();
        let jobs = &self.jobs;
        let fresh = |jid: &Jid| {
            let age = jobs.get(jid).and_then(|(_, created)| now.duration_since(*created).ok());
            age.is_none_or(|age| age < BEGINS_WITHIN)
        };
        let denied = &mut self.denied;
        self.running.retain(|pair| {
            let (jid, id) = pair;
            let denies = answers.get(id).is_some_and(|runs| !runs.contains(jid.as_str()));
            if denies {
                denied.insert(pair.clone());
            } else {
                denied.remove(pair);
            }
            !denies || fresh(jid)
        });
    }

    /// Lets go whoever may go now, and notes who is left.
    async fn step(&mut self, shared: &Arc<Shared>) {
        let guard = shared.drain.publishing.write().await;
        let here = attached(shared);
        let known = unfinished(shared, self.look_since()).await;
        self.note(known, &here, |id| is_ours(shared, id));
        let busy: BTreeSet<&str> = self.running.iter().map(|(_, id)| id.as_str()).collect();
        let within = self.wish.within;
        let began = self.began;
        let now = Instant::now();
        // By now only those of ours are here that did not leave by themselves.
        let late = began.elapsed() > within + LATE;
        let addresses = shared.presence.connected();
        let busy_at: BTreeSet<IpAddr> =
            busy.iter().filter_map(|id| addresses.get(*id)).map(IpAddr::to_canonical).collect();
        let leaves = &mut self.leaves;
        let mut may_leave = |who: String| {
            let spread = || began + within.mul_f64(fastrand::f64());
            *leaves.entry(who).or_insert_with(spread) <= now
        };
        let dismissed = shared.drain.publisher.dismiss(|peer| {
            let id = std::str::from_utf8(&peer.identity).unwrap_or_default();
            match here.get(id).filter(|_| !id.is_empty()) {
                Some(ours) => {
                    (!ours || late && is_elsewhere_too(shared, id))
                        && !busy.contains(id)
                        && may_leave(id.to_owned())
                }
                // Real Salt's connections have no name: none of an address is closed as long as a
                // minion that asks from there runs a job.
                None => {
                    !busy_at.contains(&peer.peer.ip().to_canonical())
                        && may_leave(peer.peer.to_string())
                }
            }
        });
        drop(guard);
        if dismissed > 0 {
            log::info!("Closed the connections of {dismissed} minions that need another master");
        }
        let left = self.left(shared, &here, &busy);
        let empty = left.is_empty();
        if empty && !self.empty {
            log::warn!("This master is drained: nobody is connected and no job runs");
        }
        self.empty = empty;
        *lock(&shared.drain.left) = left;
    }

    fn left(
        &self,
        shared: &Arc<Shared>,
        here: &BTreeMap<String, bool>,
        busy: &BTreeSet<&str>,
    ) -> Left {
        let late = self.began.elapsed() > self.wish.within + TELL_AGAIN;
        let mut minions = BTreeMap::new();
        for (id, ours) in here {
            let why = match (ours, busy.contains(id.as_str())) {
                (true, _) if late => stuck(shared, id),
                (false, true) => "runs a job; its connection is closed after that".to_owned(),
                _ => "is about to leave".to_owned(),
            };
            minions.insert(id.clone(), why);
        }
        let unnamed = shared.presence.connections();
        if here.is_empty() && unnamed > 0 {
            let why = format!("{unnamed} connections without the name of a minion");
            minions.insert("?".to_owned(), why);
        }
        let mut jobs: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        for (jid, id) in &self.running {
            let fun = self.jobs.get(jid).map(|(fun, _)| fun.clone()).unwrap_or_default();
            jobs.entry(jid.to_string()).or_insert_with(|| (fun, Vec::new())).1.push(id.clone());
        }
        Left { looked: true, minions, jobs }
    }
}

/// Why a minion of ours is still here although its time is over, as far as it has said so.
fn stuck(shared: &Arc<Shared>, id: &str) -> String {
    let Some(report) = shared.readiness.get(id) else {
        return "was told to leave and is still here".to_owned();
    };
    let others: Vec<String> = report
        .masters
        .iter()
        .filter(|place| place.state != "current" && place.name != report.via)
        .map(|place| match (place.state.as_str(), place.reason.as_str()) {
            ("ready", _) => format!("{} is ready", place.name),
            (_, "") => format!("{} is not ready", place.name),
            (_, reason) => format!("{}: {reason}", place.name),
        })
        .collect();
    if others.is_empty() {
        "has no other master in its configuration".to_owned()
    } else {
        format!("was told to leave; its other masters: {}", others.join(", "))
    }
}

/// Whether a minion of ours is connected to several masters at once (`master_type: str`): it has
/// nowhere to go, and loses nothing when this connection is closed.
fn is_elsewhere_too(shared: &Arc<Shared>, id: &str) -> bool {
    shared.readiness.get(id).is_some_and(|report| report.connected.len() > 1)
}

/// Whether a minion of that id has signed in that keeps its returns on its disk.
fn is_ours(shared: &Arc<Shared>, id: &str) -> bool {
    MinionId::parse(id).is_ok_and(|id| lock(&shared.drain.ours).contains_key(&id))
}

/// Who is connected, and whether it is one of ours: those say who they are, others are known by
/// the address their requests come from.
fn attached(shared: &Arc<Shared>) -> BTreeMap<String, bool> {
    let named = shared.presence.named().into_iter().filter(|id| !id.is_empty());
    let mut here: BTreeMap<String, bool> = named
        .map(|id| {
            let ours = is_ours(shared, &id);
            (id, ours)
        })
        .collect();
    for id in shared.presence.connected().into_keys() {
        if !is_ours(shared, &id) {
            here.entry(id).or_insert(false);
        }
    }
    here
}

/// A job that somebody has not returned.
struct Job {
    jid: Jid,
    fun: String,
    created: SystemTime,
    minions: Vec<String>,
}

fn before(span: Duration) -> SystemTime {
    SystemTime::now().checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH)
}

async fn unfinished(shared: &Arc<Shared>, since: SystemTime) -> Vec<Job> {
    let asked = Arc::clone(shared);
    let found = tokio::task::spawn_blocking(move || asked.jobs.store().unfinished(since)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            log::error!("Cannot see which jobs run: {error}");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let job = |(record, minions): (JobRecord, Vec<String>)| {
        let fun = record.load.get_str("fun").unwrap_or_default().to_owned();
        let lasts = !QUESTIONS.contains(&fun.as_str());
        lasts.then_some(Job { jid: record.jid, fun, created: record.created, minions })
    };
    found.into_iter().filter_map(job).collect()
}

/// Tells the minions of ours that are here to leave.
async fn tell(shared: &Arc<Shared>, wish: &Wish) {
    let here = attached(shared).into_iter().filter(|(_, ours)| *ours);
    let ids: Vec<Value> = here.map(|(id, _)| id.into()).collect();
    if ids.is_empty() {
        return;
    }
    let number = ids.len();
    let mut job = new_job(Value::List(ids), "list", LEAVE, &shared.opts.user);
    job.arg = vec![Value::Map(Map::from([
        ("__kwarg__", Value::Bool(true)),
        ("to", wish.to.as_deref().map_or(Value::Nil, Value::from)),
        ("within", Value::Float(wish.within.as_secs_f64())),
    ]))];
    job.load.insert("arg", Value::List(job.arg.clone()));
    match shared.publish(job).await {
        Ok(_) => log::info!("Told {number} minions to leave"),
        Err(PublishError::Nobody(_)) => {}
        Err(error) => log::error!("Minions were not told to leave: {error}"),
    }
}

/// What these minions say they run, for those who answer.
async fn running(shared: Arc<Shared>, ids: Vec<Value>) -> HashMap<String, BTreeSet<String>> {
    let question = ("saltutil.running", Vec::new());
    let wait = Some(ANSWER_WITHIN);
    let asked = ping::ask(&shared, Value::List(ids), "list", question, wait, wait).await;
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            log::error!("Cannot ask which jobs run: {error}");
            return HashMap::new();
        }
    };
    let jids = |load: &Map| -> Option<BTreeSet<String>> {
        let jobs = load.get("return")?.as_list()?.iter();
        Some(jobs.filter_map(|job| Some(job.get("jid")?.as_str()?.to_owned())).collect())
    };
    asked.answers.into_iter().filter_map(|(id, load)| Some((id, jids(&load)?))).collect()
}
