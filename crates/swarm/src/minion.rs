//! One simulated minion: the failover machine of the real one, carried out over real sockets, and
//! answers that are made up.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use saltern_failover::{
    Action, Attempt, Channel, Input, LeaveReason, LossReason, Machine, Master, Notice, Policy,
    Probe, ProbeResult, Selection, Soft, Status, Verdict,
};
use saltern_minion::verdict;
use saltern_transport::zeromq::{
    LostReason, Pulse, RequestError, Requester, Subscriber, SubscriberOptions,
};
use saltern_value::{Map, Value};
use saltern_wire::auth::Identity;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::answer::{self, About};
use crate::fleet::{Fleet, Opened};
use crate::link::{self, Failed, Link};
use crate::stats::{less, more};

/// A return is tried for so long; masters that are away for longer lose it, and it counts.
const PATIENCE: Duration = Duration::from_secs(600);

/// One try of a return.
const RETURN: Duration = Duration::from_secs(30);

/// Returns of one minion that wait; further ones are given up, and count.
const WAITING: usize = 1000;

/// Jobs remembered, so that what comes twice runs once.
const SEEN: usize = 32;

/// How often it is looked whether a link that is kept is still open.
const COOLED_LOOK: Duration = Duration::from_secs(2);

/// How a minion behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Good,
    Failing,
    Slow,
    Silent,
    Flapping,
}

enum Event {
    Tried(Attempt, Master, Result<Box<Established>, Verdict>),
    Prepared(Attempt, Master, Result<Arc<Link>, Verdict>),
    Received(Attempt),
    Lost(Attempt, LossReason),
    Probed(Probe, ProbeResult),
    Heard(usize),
    Suspect(usize),
    SignedOut(usize),
    Cooled(Attempt, Master),
    Leave(Option<usize>),
}

struct Established {
    link: Arc<Link>,
    subscriber: Subscriber,
}

/// Ends a task when it is dropped.
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a minion's tasks share.
struct Me {
    fleet: Arc<Fleet>,
    identity: Identity,
    position: usize,
    kind: Kind,
    sender: UnboundedSender<Event>,
    current: Mutex<Option<Arc<Link>>>,
    /// There is a link again.
    back: Notify,
    seen: Mutex<VecDeque<String>>,
    running: Mutex<Vec<(String, String)>>,
    waiting: AtomicUsize,
}

struct Current {
    attempt: Attempt,
    pulse: Pulse,
    link: Arc<Link>,
    _reader: Guard,
}

struct Shell {
    me: Arc<Me>,
    machine: Machine,
    /// The machine's masters, as positions in the plan.
    masters: Vec<usize>,
    tries: HashMap<Attempt, Guard>,
    ready: HashMap<Attempt, Box<Established>>,
    current: Option<Current>,
    kept: HashMap<Master, (Attempt, Arc<Link>, Guard)>,
    prober: Option<(usize, Requester)>,
    lost_at: Option<Instant>,
    was_connected: bool,
    pending: bool,
    started: bool,
}

/// Runs one minion (one of its machines, where all masters are in use at a time) for ever.
pub(crate) async fn run(
    fleet: Arc<Fleet>,
    identity: Identity,
    position: usize,
    masters: Vec<usize>,
    kind: Kind,
) {
    let (sender, events) = unbounded_channel();
    let seed = fleet.plan.seed ^ ((fleet.plan.first + position) as u64).wrapping_mul(0x9e37_79b9);
    let machine = Machine::new(policy(&fleet, &masters), fastrand::Rng::with_seed(seed));
    let me = Arc::new(Me {
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
    });
    let shell = Shell {
        me,
        machine,
        masters,
        tries: HashMap::new(),
        ready: HashMap::new(),
        current: None,
        kept: HashMap::new(),
        prober: None,
        lost_at: None,
        was_connected: false,
        pending: false,
        started: false,
    };
    shell.run(events).await;
}

fn policy(fleet: &Fleet, masters: &[usize]) -> Policy {
    let plan = &fleet.plan;
    let names = masters.iter().filter_map(|m| plan.masters.get(*m)).map(|p| p.name.clone());
    let mut policy = Policy::new(names.collect());
    if plan.random_master {
        policy.selection = Selection::Shuffled;
    }
    policy.alive_interval = plan.alive_interval;
    if let Some(heartbeat) = plan.heartbeat {
        let heartbeat = Some(heartbeat).filter(|h| !h.is_zero());
        (policy.heartbeat_interval, policy.probe_interval) = (heartbeat, heartbeat);
        (policy.heartbeat_fixed, policy.probe_fixed) = (true, true);
    }
    policy.attempt_timeout = Duration::from_secs(60);
    policy.standby = plan.standby && !plan.hot;
    policy
}

impl Shell {
    async fn run(mut self, mut events: UnboundedReceiver<Event>) {
        let flaps = self.me.kind == Kind::Flapping;
        let every = self.me.fleet.plan.flap_every;
        let mut flap = flaps.then(|| Instant::now() + every.mul_f64(fastrand::f64()));
        self.input(Input::Start);
        loop {
            let wake = [self.machine.wake_at(), flap].into_iter().flatten().min();
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = events.recv() => self.event(event),
                () = timer => {
                    if let Some(at) = flap.filter(|at| *at <= Instant::now()) {
                        flap = Some(at + every);
                        self.cut();
                    }
                    self.input(Input::Wake);
                }
            }
        }
    }

    /// As if the network had cut every connection.
    fn cut(&mut self) {
        if let Some(current) = &self.current {
            let attempt = current.attempt;
            self.kept.clear();
            self.prober = None;
            self.input(Input::Lost { attempt, reason: LossReason::Closed });
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Tried(attempt, master, outcome) => {
                if self.tries.remove(&attempt).is_none() {
                    return;
                }
                let verdict = match outcome {
                    Ok(established) => {
                        self.machine.pace(master, established.link.pace());
                        self.ready.insert(attempt, established);
                        Verdict::Ok
                    }
                    Err(verdict) => verdict,
                };
                self.input(Input::Verdict { attempt, verdict });
            }
            Event::Prepared(attempt, master, outcome) => self.prepared(attempt, master, outcome),
            Event::Received(attempt) => self.input(Input::Received { attempt }),
            Event::Lost(attempt, reason) => self.input(Input::Lost { attempt, reason }),
            Event::Probed(probe, result) => self.input(Input::Probed { probe, result }),
            Event::Heard(master) => self.of_current(master, |attempt| Input::Heard { attempt }),
            Event::Suspect(master) => self.of_current(master, |attempt| Input::Suspect { attempt }),
            Event::SignedOut(master) => self.of_current(master, |attempt| Input::Lost {
                attempt,
                reason: LossReason::SignedOut,
            }),
            Event::Cooled(attempt, master) => {
                if self.kept.get(&master).is_some_and(|(kept, ..)| *kept == attempt) {
                    self.kept.remove(&master);
                    self.input(Input::Cooled { master });
                }
            }
            Event::Leave(to) => {
                let to = to.and_then(|to| self.masters.iter().position(|m| *m == to)).map(Master);
                self.input(Input::Leave { to, why: LeaveReason::Drain });
            }
        }
    }

    fn of_current(&mut self, master: usize, input: fn(Attempt) -> Input) {
        let current = self.current.as_ref().filter(|c| c.link.master == master);
        if let Some(attempt) = current.map(|c| c.attempt) {
            self.input(input(attempt));
        }
    }

    fn prepared(&mut self, attempt: Attempt, master: Master, outcome: Result<Arc<Link>, Verdict>) {
        if self.tries.remove(&attempt).is_none() {
            return;
        }
        let verdict = match outcome {
            Ok(link) => {
                link.requester.hold(true);
                let (sender, watched) = (self.me.sender.clone(), link.clone());
                let watch = tokio::spawn(async move {
                    while watched.requester.is_connected() {
                        tokio::time::sleep(COOLED_LOOK).await;
                    }
                    drop(sender.send(Event::Cooled(attempt, master)));
                });
                self.kept.insert(master, (attempt, link, Guard(watch.abort_handle())));
                Verdict::Ok
            }
            Err(verdict) => verdict,
        };
        self.input(Input::Verdict { attempt, verdict });
    }

    fn input(&mut self, input: Input) {
        for action in self.machine.handle(Instant::now(), input) {
            self.act(action);
        }
        let pending = matches!(self.machine.status(), Status::Waiting { pending: true, .. });
        if pending != self.pending {
            self.pending = pending;
            let gauge = &self.me.fleet.stats.pending;
            if pending { more(gauge) } else { less(gauge) }
        }
    }

    fn position(&self, master: Master) -> usize {
        self.masters.get(master.0).copied().unwrap_or_default()
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Try { attempt, master, warm } => self.start_try(attempt, master, warm),
            Action::Prepare { attempt, master } => {
                let (me, position) = (self.me.clone(), self.position(master));
                let task = tokio::spawn(async move {
                    let (fleet, identity) = (me.fleet.clone(), me.identity.clone());
                    let outcome = Box::pin(Link::open(fleet, identity, position, true)).await;
                    drop(me.sender.send(Event::Prepared(attempt, master, outcome)));
                });
                self.tries.insert(attempt, Guard(task.abort_handle()));
            }
            Action::Release { master } => drop(self.kept.remove(&master)),
            Action::Abandon { attempt } => {
                self.tries.remove(&attempt);
                self.ready.remove(&attempt);
            }
            Action::Adopt { attempt, master } => self.adopt(attempt, master),
            Action::Disconnect { attempt, .. } => {
                if self.current.take_if(|c| c.attempt == attempt).is_some() {
                    self.prober = None;
                    self.show();
                }
            }
            Action::Probe { probe, attempt, master, channel, authenticated, deadline } => {
                self.probe(probe, attempt, master, channel, authenticated, deadline);
            }
            Action::Notify(Notice::Switched { from, to, gap, .. }) => {
                if from.is_some_and(|from| from != to) {
                    more(&self.me.fleet.stats.switches);
                    self.me.fleet.stats.gap.add(gap);
                }
            }
            Action::Notify(_) => {}
        }
    }

    fn start_try(&mut self, attempt: Attempt, master: Master, warm: bool) {
        let (me, position) = (self.me.clone(), self.position(master));
        let kept = self.kept.get(&master).filter(|_| warm).map(|(_, link, _)| link.clone());
        let task = tokio::spawn(async move {
            let outcome = Box::pin(establish(&me, position, kept)).await;
            drop(me.sender.send(Event::Tried(attempt, master, outcome)));
        });
        self.tries.insert(attempt, Guard(task.abort_handle()));
    }

    fn adopt(&mut self, attempt: Attempt, master: Master) {
        let Some(established) = self.ready.remove(&attempt) else {
            drop(self.me.sender.send(Event::Lost(attempt, LossReason::Closed)));
            return;
        };
        let Established { link, subscriber } = *established;
        link.requester.hold(false);
        self.kept.remove(&master);
        self.prober = None;
        let pulse = subscriber.pulse();
        let reader = tokio::spawn(read(self.me.clone(), link.clone(), subscriber, attempt));
        let reader = Guard(reader.abort_handle());
        self.current = Some(Current { attempt, pulse, link: link.clone(), _reader: reader });
        self.show();
        if !std::mem::replace(&mut self.started, true) {
            tokio::spawn(introduce(self.me.clone(), link));
        }
    }

    /// Counts what the last change has made of this minion.
    fn show(&mut self) {
        let link = self.current.as_ref().map(|c| c.link.clone());
        let before = {
            let mut current = self.me.current.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, link.clone())
        };
        let stats = &self.me.fleet.stats;
        let on = &self.me.fleet.on;
        if let Some(place) = before.as_ref().and_then(|link| on.get(link.master)) {
            less(place);
        }
        if let Some(place) = link.as_ref().and_then(|link| on.get(link.master)) {
            more(place);
        }
        match (before.is_some(), link.is_some()) {
            (false, true) => {
                more(&stats.connected);
                if std::mem::replace(&mut self.was_connected, true) {
                    less(&stats.lost);
                }
                self.me.back.notify_waiters();
            }
            (true, false) => {
                less(&stats.connected);
                more(&stats.lost);
                self.lost_at = Some(Instant::now());
            }
            _ => {}
        }
    }

    fn probe(
        &mut self,
        probe: Probe,
        attempt: Option<Attempt>,
        master: Master,
        channel: Channel,
        authenticated: bool,
        deadline: Duration,
    ) {
        let current = self.current.as_ref().filter(|c| Some(c.attempt) == attempt);
        if channel == Channel::Publications {
            if let Some(current) = current {
                current.pulse.ping();
            }
            return;
        }
        let link = current.filter(|_| authenticated).map(|c| c.link.clone());
        let position = self.position(master);
        // As the real minion: one connection does, unless requests wait on it.
        let shared = current.map(|c| &c.link.requester).filter(|shared| shared.is_free());
        let requester = match (shared, &self.prober) {
            (Some(shared), _) => shared.clone(),
            (None, Some((at, requester))) if *at == position => requester.clone(),
            _ => {
                let requester = link::requester(&self.me.fleet, position);
                self.prober = Some((position, requester.clone()));
                requester
            }
        };
        let sender = self.me.sender.clone();
        tokio::spawn(async move {
            let result = match link {
                Some(link) => prove(&link, &requester, deadline).await,
                None => verdict::ping(&requester, deadline).await,
            };
            drop(sender.send(Event::Probed(probe, result)));
        });
    }
}

async fn establish(
    me: &Me,
    master: usize,
    kept: Option<Arc<Link>>,
) -> Result<Box<Established>, Verdict> {
    let link = match kept {
        Some(link) => link,
        None => Link::open(me.fleet.clone(), me.identity.clone(), master, false).await?,
    };
    let (place, topics) = link.publications();
    let topics: Vec<&[u8]> = topics.iter().map(Vec::as_slice).collect();
    let options = SubscriberOptions {
        identity: me.identity.id().as_str().as_bytes().to_vec(),
        heartbeat: None,
        queue: 32,
        timeout: Duration::from_secs(20),
        ..SubscriberOptions::default()
    };
    match Subscriber::connect(&place, options, &topics).await {
        Ok(subscriber) => Ok(Box::new(Established { link, subscriber })),
        Err(lost) => {
            me.fleet.stats.error(&format!("subscription: {lost}"));
            Err(Verdict::Soft(match lost.reason {
                LostReason::Resolve(_) => Soft::Unresolved,
                LostReason::Refused => Soft::Refused,
                LostReason::Closed | LostReason::Protocol(_) => Soft::Broken,
                _ => Soft::Timeout,
            }))
        }
    }
}

/// Reads a subscription until it ends.
async fn read(me: Arc<Me>, link: Arc<Link>, mut subscriber: Subscriber, attempt: Attempt) {
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
    let by_name = matches!(opened.publication.tgt_type.as_str(), "glob" | "list" | "pcre");
    let grains = (!by_name).then(|| me.fleet.grains(me.position, id));
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `failover.leave to=None, within=0`
fn leave(me: &Arc<Me>, arg: &[Value]) {
    let named = |name: &str| arg.iter().rev().find_map(|value| value.as_map()?.get(name).cloned());
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
    deliver(&me, link, load, arrived).await;
    me.waiting.fetch_sub(1, Ordering::Relaxed);
}

/// Delivers a return: to the master that asked, then to whichever is in use.
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

async fn deliver(me: &Me, mut link: Arc<Link>, load: Map, arrived: Instant) {
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
                return;
            }
            Err(error) => error,
        };
        if arrived.elapsed() > PATIENCE {
            more(&stats.failed);
            stats.error(&format!("return given up: {error}"));
            return;
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
async fn introduce(me: Arc<Me>, link: Arc<Link>) {
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
    let all = plan.count as u64;
    while me.fleet.stats.connected.load(Ordering::Relaxed) < all {
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
            Some(link) => Box::pin(deliver(me, link, load, Instant::now())).await,
            None => more(&me.fleet.stats.failed),
        }
    }
}

fn told(error: &Failed) -> String {
    match error {
        Failed::Transport(error) => error.to_string(),
        Failed::SignIn(_) => "signing in again failed".to_owned(),
        Failed::Answer(text) => text.clone(),
    }
}

/// A request under the session key.
async fn prove(link: &Link, requester: &Requester, deadline: Duration) -> ProbeResult {
    let load = Map::from([("cmd", "_file_envs")]);
    match link.request(requester, load, deadline).await {
        Ok(_) => ProbeResult::Alive,
        Err(Failed::Transport(RequestError::Refused)) => ProbeResult::Refused,
        Err(_) => ProbeResult::Failed,
    }
}
