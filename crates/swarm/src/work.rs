//! What a simulated minion does with what it is sent, and what it says of itself: jobs, returns,
//! the introduction, a flood.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use saltern_failover::{Attempt, LossReason, Soft, Verdict};
use saltern_transport::zeromq::{LostReason, RequestError, Subscriber};
use saltern_value::{Map, Value};
use saltern_wire::auth::Identity;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::answer::{self, About};
use crate::fleet::{Fleet, Opened};
use crate::link::{Failed, Link};
use crate::minion::Event;
use crate::stats::more;

/// A return is tried for so long; masters that are away for longer lose it, and it counts.
const PATIENCE: Duration = Duration::from_secs(600);

/// One try of a return.
const RETURN: Duration = Duration::from_secs(30);

/// Returns of one minion that wait; further ones are given up, and count.
const WAITING: usize = 1000;

/// Jobs remembered, so that what comes twice runs once.
const SEEN: usize = 32;

/// How a minion behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Good,
    Failing,
    Slow,
    Silent,
    Flapping,
}

/// What a minion's tasks share.
pub(crate) struct Me {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) identity: Identity,
    position: usize,
    pub(crate) kind: Kind,
    pub(crate) sender: UnboundedSender<Event>,
    pub(crate) current: Mutex<Option<Arc<Link>>>,
    /// There is a link again.
    pub(crate) back: Notify,
    seen: Mutex<VecDeque<String>>,
    running: Mutex<Vec<(String, String)>>,
    waiting: AtomicUsize,
}

impl Me {
    pub(crate) fn new(
        fleet: Arc<Fleet>,
        identity: Identity,
        position: usize,
        kind: Kind,
        sender: UnboundedSender<Event>,
    ) -> Self {
        Me {
            fleet,
            identity,
            position,
            kind,
            sender,
            current: Mutex::default(),
            back: Notify::new(),
            seen: Mutex::default(),
            running: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// Reads a subscription until it ends.
pub(crate) async fn read(
    me: Arc<Me>,
    link: Arc<Link>,
    mut subscriber: Subscriber,
    attempt: Attempt,
) {
    let mut pulse = subscriber.pulse();
    let mut beats = true;
    loop {
        tokio::select! {
            got = subscriber.next() => match got {
                Ok(frames) => {
                    more(&me.fleet.stats.publications);
                    if let Some(opened) = Box::pin(link.publication(&frames)).await {
                        publication(&me, &link, &opened);
                    }
                }
                Err(lost) => {
                    let silent = lost.reason == LostReason::Silent;
                    let reason = if silent { LossReason::Silent } else { LossReason::Closed };
                    drop(me.sender.send(Event::Lost(attempt, reason)));
                    return;
                }
            },
            alive = pulse.sign(), if beats => {
                beats = alive;
                if alive && me.sender.send(Event::Received(attempt)).is_err() {
                    return;
                }
            }
        }
    }
}

/// Takes a job, if it is one for us.
fn publication(me: &Arc<Me>, link: &Arc<Link>, opened: &Arc<Opened>) {
    let id = me.identity.id().as_str();
    let Some(expression) = &opened.expression else { return };
    let grains = opened.reads_grains.then(|| me.fleet.grains(me.position, id));
    let subject = saltern_target::Subject { id, grains: grains.as_ref(), pillar: None };
    if !expression.matches(&subject) {
        return;
    }
    let jid = opened.publication.jid.as_str();
    {
        let mut seen = lock(&me.seen);
        if seen.iter().any(|other| other == jid) {
            return;
        }
        seen.push_back(jid.to_owned());
        if seen.len() > SEEN {
            seen.pop_front();
        }
    }
    let stats = &me.fleet.stats;
    more(&stats.jobs);
    me.fleet.note('t', jid, id);
    let fun = opened.publication.fun.as_str().unwrap_or_default();
    if me.kind == Kind::Silent && fun != "saltutil.find_job" {
        more(&stats.unanswered);
        return;
    }
    if fun == "failover.leave" {
        leave(me, &opened.publication.arg);
    }
    if me.waiting.load(Ordering::Relaxed) >= WAITING {
        more(&stats.failed);
        stats.error("return: too many wait");
        return;
    }
    me.waiting.fetch_add(1, Ordering::Relaxed);
    lock(&me.running).push((jid.to_owned(), fun.to_owned()));
    tokio::spawn(work(me.clone(), link.clone(), opened.clone(), Instant::now()));
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `failover.leave to=None, within=0`
fn leave(me: &Arc<Me>, arg: &[Value]) {
    let named = |name: &str| answer::named(arg, name);
    let at = |position: usize| arg.get(position).filter(|v| v.as_map().is_none()).cloned();
    let to = named("to").or_else(|| at(0));
    let within = named("within").or_else(|| at(1)).and_then(|v| v.as_f64()).unwrap_or(0.0);
    let place = |name: &str| me.fleet.plan.masters.iter().position(|p| p.name == name);
    let to = to.as_ref().and_then(Value::as_str).and_then(place);
    let within = Duration::try_from_secs_f64(within.clamp(0.0, 86_400.0)).unwrap_or_default();
    let me = me.clone();
    tokio::spawn(async move {
        tokio::time::sleep(within.mul_f64(fastrand::f64())).await;
        drop(me.sender.send(Event::Leave(to)));
    });
}

/// Runs a job and delivers its return.
async fn work(me: Arc<Me>, link: Arc<Link>, opened: Arc<Opened>, arrived: Instant) {
    let job = &opened.publication;
    let plan = &me.fleet.plan;
    let asks = job.fun.as_str().is_some_and(|fun| fun.starts_with("saltutil."));
    let (latency, size) = {
        let mut rng = fastrand::Rng::new();
        (plan.latency.draw(&mut rng), plan.size.draw(&mut rng))
    };
    let mut pause = Duration::try_from_secs_f64(latency).unwrap_or_default();
    if me.kind == Kind::Slow {
        pause += plan.slow_by;
    }
    if !pause.is_zero() && !asks {
        tokio::time::sleep(pause).await;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let load = {
        let id = me.identity.id().as_str();
        let about = About {
            id,
            kind: me.kind,
            size: size as usize,
            grains: &|| me.fleet.grains(me.position, id),
            running: &|| {
                let own = job.jid.as_str();
                lock(&me.running).iter().filter(|(jid, _)| jid != own).cloned().collect()
            },
        };
        answer::load(&about, job)
    };
    lock(&me.running).retain(|(jid, _)| jid != job.jid.as_str());
    if deliver(&me, link, load, arrived).await && !asks {
        me.fleet.has_answered(me.position);
    }
    me.waiting.fetch_sub(1, Ordering::Relaxed);
}

/// Sends a return once.
async fn deliver_one(me: &Me, link: &Link, load: &Map) -> Result<(), String> {
    match link.request(&link.requester, load.clone(), RETURN).await {
        Ok(Value::Bool(false)) => Err("the master does not take it".to_owned()),
        Ok(_) => {
            drop(me.sender.send(Event::Heard(link.master)));
            Ok(())
        }
        Err(Failed::Transport(error)) => {
            drop(me.sender.send(Event::Suspect(link.master)));
            Err(match error {
                RequestError::Unreachable(_) => "the master is out of reach".to_owned(),
                error => error.to_string(),
            })
        }
        Err(Failed::SignIn(Verdict::Soft(Soft::Pending | Soft::Rejected | Soft::Denied))) => {
            drop(me.sender.send(Event::SignedOut(link.master)));
            Err("signed out".to_owned())
        }
        Err(Failed::SignIn(_)) => Err("signing in again failed".to_owned()),
        Err(Failed::Answer(text)) => Err(text),
    }
}

/// Delivers a return: to the master that asked, then to whichever is in use. Whether a master has
/// acknowledged it.
async fn deliver(me: &Me, mut link: Arc<Link>, load: Map, arrived: Instant) -> bool {
    let stats = &me.fleet.stats;
    let mut pause = Duration::from_millis(200);
    loop {
        let error = match Box::pin(deliver_one(me, &link, &load)).await {
            Ok(()) => {
                more(&stats.answered);
                me.fleet.note(
                    'a',
                    load.get_str("jid").unwrap_or_default(),
                    me.identity.id().as_str(),
                );
                stats.answer.add(arrived.elapsed());
                return true;
            }
            Err(error) => error,
        };
        if arrived.elapsed() > PATIENCE {
            more(&stats.failed);
            stats.error(&format!("return given up: {error}"));
            return false;
        }
        more(&stats.retries);
        stats.error(&format!("return: {error}"));
        let back = me.back.notified();
        let jittered = pause.mul_f64(0.5 + fastrand::f64());
        let _ = tokio::time::timeout(jittered, back).await;
        pause = (pause * 2).min(Duration::from_secs(10));
        if let Some(current) = lock(&me.current).clone() {
            link = current;
        }
    }
}

/// What a minion says once it is connected: it fetches its pillar, which also tells the master its
/// grains, and fires the start event.
pub(crate) async fn introduce(me: Arc<Me>, link: Arc<Link>) {
    if !me.fleet.plan.bare {
        announce(&me, &link).await;
    }
    flood(&me).await;
}

async fn announce(me: &Me, link: &Link) {
    let id = me.identity.id().as_str();
    let load = Map::from([
        ("cmd", Value::from("_pillar")),
        ("id", Value::from(id)),
        ("grains", Value::Map(me.fleet.grains(me.position, id))),
        ("saltenv", Value::Nil),
        ("pillarenv", Value::Nil),
        ("pillar_override", Value::Map(Map::new())),
        ("extra_minion_data", Value::Map(Map::new())),
        ("ver", Value::from("2")),
    ]);
    if let Err(error) = Box::pin(link.pillar(load, RETURN)).await {
        me.fleet.stats.error(&format!("pillar: {}", told(&error)));
    }
    let tag = format!("salt/minion/{id}/start");
    let load = Map::from([
        ("cmd", Value::from("_minion_event")),
        ("pretag", Value::Nil),
        ("tag", Value::from(tag)),
        ("data", Value::from(format!("Minion {id} started"))),
        ("id", Value::from(id)),
    ]);
    if let Err(error) = Box::pin(link.request(&link.requester, load, RETURN)).await {
        me.fleet.stats.error(&format!("start event: {}", told(&error)));
    }
}

/// Returns of one made-up job after the other, once all minions are connected.
async fn flood(me: &Me) {
    let plan = &me.fleet.plan;
    if plan.flood == 0 {
        return;
    }
    while !me.fleet.is_connected() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let id = me.identity.id().as_str();
    let mut rng = fastrand::Rng::new();
    for number in 0..plan.flood {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let size = plan.size.draw(&mut rng) as usize;
        let load = Map::from([
            ("cmd", Value::from("_return")),
            ("id", Value::from(id)),
            ("success", Value::Bool(true)),
            ("return", Value::from("x".repeat(size))),
            ("retcode", Value::Int(0)),
            ("jid", Value::from(format!("{}{number:06}", me.fleet.flood))),
            ("fun", Value::from("swarm.flood")),
            ("fun_args", Value::List(Vec::new())),
        ]);
        more(&me.fleet.stats.jobs);
        let link = lock(&me.current).clone();
        match link {
            Some(link) => drop(Box::pin(deliver(me, link, load, Instant::now())).await),
            None => more(&me.fleet.stats.failed),
        }
    }
    me.fleet.has_answered(me.position);
}

fn told(error: &Failed) -> String {
    match error {
        Failed::Transport(error) => error.to_string(),
        Failed::SignIn(_) => "signing in again failed".to_owned(),
        Failed::Answer(text) => text.clone(),
    }
}
