//! One simulated minion: the failover machine of the real one, carried out over real sockets, and
//! answers that are made up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use saltern_failover::{
    Action, Attempt, Channel, Input, LeaveReason, LossReason, Machine, Master, Notice, Policy,
    Probe, ProbeResult, Selection, Status, Verdict,
};
use saltern_minion::verdict;
use saltern_transport::zeromq::{Pulse, RequestError, Requester, Subscriber, SubscriberOptions};
use saltern_wire::auth::Identity;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;

use crate::fleet::Fleet;
use crate::link::{self, Failed, Link};
use crate::stats::{less, more};
use crate::work::{self, Kind, Me, lock};

/// How often it is looked whether a link that is kept is still open.
const COOLED_LOOK: Duration = Duration::from_secs(2);

/// What a minion's tasks tell its shell.
pub(crate) enum Event {
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

/// A way to a master with a subscription.
pub(crate) struct Established {
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
    /// Since when there is no connection; only after there was one.
    lost_at: Option<Instant>,
    /// How long there was none; counted once all is done that one input asks for.
    gap: Option<Duration>,
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
    let me = Arc::new(Me::new(fleet, identity, position, kind, sender));
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
        gap: None,
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
            Event::Probed(probe, result) => {
                self.paced();
                self.input(Input::Probed { probe, result });
            }
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

    /// The master in use may have said that it wants to be asked at another pace.
    fn paced(&mut self) {
        let Some(current) = &self.current else { return };
        let (position, pace) = (current.link.master, current.link.pace());
        if let Some(at) = self.masters.iter().position(|m| *m == position) {
            self.machine.pace(Master(at), pace);
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
        if let Some(gap) = self.gap.take() {
            more(&self.me.fleet.stats.gaps);
            self.me.fleet.stats.gap.add(gap);
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
                }
                // The machine knows since when a silent master has not been heard.
                if let Some(known) = &mut self.gap {
                    *known = gap.max(*known);
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
        let reader = tokio::spawn(work::read(self.me.clone(), link.clone(), subscriber, attempt));
        let reader = Guard(reader.abort_handle());
        self.current = Some(Current { attempt, pulse, link: link.clone(), _reader: reader });
        self.show();
        if !std::mem::replace(&mut self.started, true) {
            tokio::spawn(work::introduce(self.me.clone(), link));
        }
    }

    /// Counts what the last change has made of this minion.
    fn show(&mut self) {
        let link = self.current.as_ref().map(|c| c.link.clone());
        let before = std::mem::replace(&mut *lock(&self.me.current), link.clone());
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
                if let Some(at) = self.lost_at.take() {
                    less(&stats.lost);
                    self.gap = Some(at.elapsed());
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
            Err(Verdict::Soft(verdict::of_subscription(&lost.reason)))
        }
    }
}

/// A request under the session key.
async fn prove(link: &Link, requester: &Requester, deadline: Duration) -> ProbeResult {
    match link.prove(requester, deadline).await {
        Ok(()) => ProbeResult::Alive,
        Err(Failed::Transport(RequestError::Refused)) => ProbeResult::Refused,
        Err(_) => ProbeResult::Failed,
    }
}
