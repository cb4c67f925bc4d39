//! Runs one failover machine: does what it asks for, tells it what happened. One loop, one event
//! type; every task it starts is owned here and ends with it.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use saltern_event::tags;
use saltern_failover::{
    Action, Attempt, Channel, Input, LeaveReason, LossReason, Machine, Master, Notice, Probe,
    ProbeResult, Soft, Status, Verdict,
};
use saltern_transport::zeromq::{Pulse, Requester, Subscriber};
use saltern_value::Map;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use crate::access::Purpose;
use crate::connect::attempt::{self, NotReached};
use crate::connect::reader::{self, Entry, Progress};
use crate::core::Core;
use crate::link::{Link, LinkEvent, Tell};
use crate::{verdict, view};

/// What others may ask of a shell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// Go to another master.
    Leave {
        /// Its position in `master`; `None` for the next one that takes us.
        to: Option<usize>,
        /// Who wants it.
        why: LeaveReason,
    },
    /// The program ends.
    Stop,
}

/// After this time the log repeats why a master cannot be used.
const SAME_AGAIN: Duration = Duration::from_secs(60);

/// A connection left for a better one is read for this long: what was published just before the
/// new subscription began comes only here. Jobs that come both ways run once.
const LINGER: Duration = Duration::from_secs(2);

/// How long the way back to a master that was left, but lives, is kept for returns.
const KEPT_FOR_RETURNS: Duration = Duration::from_secs(600);

/// How often it is looked whether a link that is kept ready is still open.
const COOLED_LOOK: Duration = Duration::from_secs(2);

/// Signs of life are passed on at most this often.
const SIGNS_APART: Duration = Duration::from_millis(10);

/// What happened.
enum Event {
    Tried(Attempt, Master, Result<Box<Established>, NotReached>),
    Prepared(Attempt, Master, Result<Kept, NotReached>),
    Received(Attempt),
    /// The subscription has ended; one in use says more about it by [`Event::Lost`].
    Ended(Attempt),
    Lost(Attempt, LossReason),
    Probed(Probe, ProbeResult),
    Link(Attempt, LinkEvent),
    Cooled(Attempt, Master),
}

/// Ends a task when it is dropped.
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Under which name a link's events arrive here: that of the try it came of, then that of the
/// connection.
#[derive(Clone)]
struct Tag(Arc<AtomicU64>);

impl Tag {
    fn new(attempt: Attempt) -> Self {
        Tag(Arc::new(AtomicU64::new(attempt.0)))
    }

    fn get(&self) -> Attempt {
        Attempt(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, attempt: Attempt) {
        self.0.store(attempt.0, Ordering::Relaxed);
    }
}

/// A link and the name of its events.
#[derive(Clone)]
struct Tagged {
    link: Arc<Link>,
    tag: Tag,
}

/// A connection that is complete and not yet in use.
struct Established {
    tagged: Tagged,
    subscriber: Subscriber,
    pulse: Pulse,
    /// Passes the signs of life on.
    signs: Guard,
}

/// A link without a subscription, kept for the day it is needed.
#[derive(Clone)]
struct Kept {
    attempt: Attempt,
    tagged: Tagged,
}

/// The connection in use.
struct Current {
    attempt: Attempt,
    link: Arc<Link>,
    pulse: Pulse,
    progress: Progress,
    reader: Guard,
    _signs: Guard,
}

struct Shell {
    core: Arc<Core>,
    slot: usize,
    machine: Machine,
    /// The machine's masters, as positions in `master`.
    positions: Vec<usize>,
    sender: UnboundedSender<Event>,
    tries: HashMap<Attempt, Guard>,
    ready: HashMap<Attempt, Box<Established>>,
    current: Option<Current>,
    /// What was left for a better one, for [`LINGER`].
    left: Option<Guard>,
    /// Each with the task that notices its end.
    kept: HashMap<Master, (Kept, Guard)>,
    /// For probes while requests wait, so that those do not hide whether others do too.
    probers: HashMap<Master, Requester>,
    /// What the log says of each master that was to be kept ready.
    standby_logged: HashMap<Master, Verdict>,
    /// What the log said last of each master that was to be used, and when.
    tries_logged: HashMap<Master, (Verdict, Instant)>,
    waiting_logged: bool,
}

/// Runs a machine until it is told to stop.
pub(crate) async fn run(
    core: Arc<Core>,
    slot: usize,
    machine: Machine,
    positions: Vec<usize>,
    mut commands: UnboundedReceiver<Command>,
) {
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut shell = Shell {
        core,
        slot,
        machine,
        positions,
        sender,
        tries: HashMap::new(),
        ready: HashMap::new(),
        current: None,
        left: None,
        kept: HashMap::new(),
        probers: HashMap::new(),
        standby_logged: HashMap::new(),
        tries_logged: HashMap::new(),
        waiting_logged: false,
    };
    shell.input(Input::Start);
    loop {
        let wake = shell.machine.wake_at();
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(event) = events.recv() => shell.event(event),
            () = timer => shell.input(Input::Wake),
            command = commands.recv() => match command {
                Some(Command::Leave { to, why }) => {
                    let to = to.and_then(|at| shell.positions.iter().position(|p| *p == at));
                    shell.input(Input::Leave { to: to.map(Master), why });
                }
                Some(Command::Stop) | None => {
                    shell.input(Input::Stop);
                    return;
                }
            },
        }
    }
}

impl Shell {
    fn event(&mut self, event: Event) {
        match event {
            Event::Tried(attempt, master, outcome) => self.tried(attempt, master, outcome),
            Event::Prepared(attempt, master, outcome) => self.prepared(attempt, master, outcome),
            Event::Received(attempt) => self.input(Input::Received { attempt }),
            Event::Ended(attempt) => {
                if self.ready.contains_key(&attempt) {
                    self.input(Input::Lost { attempt, reason: LossReason::Closed });
                }
            }
            Event::Lost(attempt, reason) => self.input(Input::Lost { attempt, reason }),
            Event::Probed(probe, result) => self.input(Input::Probed { probe, result }),
            Event::Link(attempt, event) => self.link_event(attempt, event),
            Event::Cooled(attempt, master) => self.cooled(attempt, master),
        }
    }

    fn tried(
        &mut self,
        attempt: Attempt,
        master: Master,
        outcome: Result<Box<Established>, NotReached>,
    ) {
        // An abandoned try may have ended in the same moment.
        if self.tries.remove(&attempt).is_none() {
            return;
        }
        let verdict = match outcome {
            Ok(established) => {
                self.machine.pace(master, established.tagged.link.pace());
                self.ready.insert(attempt, established);
                self.tries_logged.remove(&master);
                Verdict::Ok
            }
            Err(not) => {
                self.log_failed(master, &not);
                not.verdict
            }
        };
        self.input(Input::Verdict { attempt, verdict });
    }

    /// Says why a master cannot be used: at once when that is new, else now and then, as masters
    /// that are away are asked every few seconds.
    fn log_failed(&mut self, master: Master, not: &NotReached) {
        let (kind, now) = (kind_of(&not.verdict), Instant::now());
        let known = self.tries_logged.get(&master).is_some_and(|(before, when)| {
            kind_of(before) == kind && now.saturating_duration_since(*when) < SAME_AGAIN
        });
        if !known {
            self.tries_logged.insert(master, (not.verdict, now));
            not.log(self.machine.name(master));
        }
        // When it can be switched to again, that is news.
        self.standby_logged.insert(master, not.verdict);
    }

    fn prepared(&mut self, attempt: Attempt, master: Master, outcome: Result<Kept, NotReached>) {
        if self.tries.remove(&attempt).is_none() {
            return;
        }
        let verdict = match &outcome {
            Ok(_) => Verdict::Ok,
            Err(not) => not.verdict,
        };
        let before = self.standby_logged.insert(master, verdict);
        // The numbers in a verdict change each time.
        let kind = kind_of(&verdict);
        let news = before.is_none_or(|before| kind_of(&before) != kind);
        match outcome {
            Ok(kept) => {
                if news {
                    log::info!("Ready to switch to the Salt Master {}", kept.tagged.link.name());
                }
                self.keep(master, kept);
            }
            Err(not) if news => not.log_standby(self.machine.name(master)),
            Err(_) => {}
        }
        self.input(Input::Verdict { attempt, verdict });
    }

    fn link_event(&mut self, attempt: Attempt, event: LinkEvent) {
        let kept = self.kept.iter().find(|(_, (kept, _))| kept.attempt == attempt);
        if let Some((master, _)) = kept {
            if event == LinkEvent::SignedOut {
                self.cooled(attempt, *master);
            }
            return;
        }
        if let Some(current) = self.current.as_ref().filter(|c| c.attempt == attempt) {
            // It may have signed in again and know better now.
            let position = current.link.master();
            if let Some(at) = self.positions.iter().position(|p| *p == position) {
                self.machine.pace(Master(at), current.link.pace());
            }
        }
        self.input(match event {
            LinkEvent::Heard => Input::Heard { attempt },
            LinkEvent::Suspect => Input::Suspect { attempt },
            LinkEvent::SignedOut => Input::Lost { attempt, reason: LossReason::SignedOut },
        });
    }

    fn keep(&mut self, master: Master, kept: Kept) {
        kept.tagged.link.hold();
        self.core.keep(kept.tagged.link.clone());
        let (sender, attempt) = (self.sender.clone(), kept.attempt);
        let link = kept.tagged.link.clone();
        let watch = tokio::spawn(async move {
            while link.is_connected() {
                tokio::time::sleep(COOLED_LOOK).await;
            }
            drop(sender.send(Event::Cooled(attempt, master)));
        });
        self.kept.insert(master, (kept, Guard(watch.abort_handle())));
    }

    fn cooled(&mut self, attempt: Attempt, master: Master) {
        if self.kept.get(&master).is_some_and(|(kept, _)| kept.attempt == attempt) {
            log::debug!("The connection kept to {} has ended", self.machine.name(master));
            self.release(master);
            self.standby_logged.remove(&master);
            self.input(Input::Cooled { master });
        }
    }

    fn release(&mut self, master: Master) {
        if let Some((kept, _)) = self.kept.remove(&master) {
            self.core.release(&kept.tagged.link);
        }
    }

    fn input(&mut self, input: Input) {
        for action in self.machine.handle(Instant::now(), input) {
            self.act(action);
        }
        self.core.views.show(self.slot, &self.machine, &self.positions);
        self.report_waiting();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Try { attempt, master, warm } => self.start_try(attempt, master, warm),
            Action::Prepare { attempt, master } => self.start_prepare(attempt, master),
            Action::Release { master } => self.release(master),
            Action::Abandon { attempt } => {
                self.tries.remove(&attempt);
                self.ready.remove(&attempt);
            }
            Action::Adopt { attempt, master } => self.adopt(attempt, master),
            Action::Disconnect { attempt, reason } => self.disconnect(attempt, reason),
            Action::Probe { probe, attempt, master, channel, authenticated, deadline } => {
                let current = self.current.as_ref().filter(|c| Some(c.attempt) == attempt);
                match (channel, current) {
                    (Channel::Publications, Some(current)) => current.pulse.ping(),
                    (Channel::Publications, None) => {}
                    (Channel::Requests, current) => {
                        let link = current.filter(|_| authenticated).map(|c| c.link.clone());
                        self.probe(probe, master, link, deadline);
                    }
                }
            }
            Action::Notify(notice) => self.notify(notice),
        }
    }

    fn position(&self, master: Master) -> usize {
        self.positions.get(master.0).copied().unwrap_or_default()
    }

    fn start_try(&mut self, attempt: Attempt, master: Master, warm: bool) {
        let (access, position) = (self.core.access.clone(), self.position(master));
        let kept = self.kept.get(&master).filter(|_| warm).map(|(kept, _)| kept.tagged.clone());
        let (tag, tell) = self.tag(attempt);
        let sender = self.sender.clone();
        let work = async move {
            let tagged = match kept {
                Some(kept) => kept,
                None => {
                    let purpose = Purpose::Use;
                    let link = attempt::sign_in(access.clone(), position, purpose, tell).await?;
                    Tagged { link, tag }
                }
            };
            let subscriber = attempt::subscribe(&access, &tagged.link).await?;
            let pulse = subscriber.pulse();
            let signs = pass_signs(attempt, pulse.clone(), sender.clone());
            Ok(Box::new(Established { tagged, subscriber, pulse, signs }))
        };
        let sender = self.sender.clone();
        let task = tokio::spawn(async move {
            let outcome: Result<_, NotReached> = work.await;
            drop(sender.send(Event::Tried(attempt, master, outcome)));
        });
        self.tries.insert(attempt, Guard(task.abort_handle()));
    }

    fn start_prepare(&mut self, attempt: Attempt, master: Master) {
        let (access, position) = (self.core.access.clone(), self.position(master));
        let (tag, tell) = self.tag(attempt);
        let sender = self.sender.clone();
        let task = tokio::spawn(async move {
            let signed_in = attempt::sign_in(access, position, Purpose::Standby, tell).await;
            let kept = signed_in.map(|link| Kept { attempt, tagged: Tagged { link, tag } });
            drop(sender.send(Event::Prepared(attempt, master, kept)));
        });
        self.tries.insert(attempt, Guard(task.abort_handle()));
    }

    /// A name for the events of a link to be, and the way they take.
    fn tag(&self, attempt: Attempt) -> (Tag, Tell) {
        let tag = Tag::new(attempt);
        let (name, sender) = (tag.clone(), self.sender.clone());
        let tell: Tell = Box::new(move |event| drop(sender.send(Event::Link(name.get(), event))));
        (tag, tell)
    }

    fn adopt(&mut self, attempt: Attempt, master: Master) {
        let Some(established) = self.ready.remove(&attempt) else {
            // Cannot happen; the machine is told rather than left waiting.
            drop(self.sender.send(Event::Lost(attempt, LossReason::Closed)));
            return;
        };
        let Established { tagged: Tagged { link, tag }, subscriber, pulse, signs } = *established;
        let position = self.position(master);
        let before = self.current.as_ref().filter(|c| c.link.master() == position);
        let entry = match before {
            Some(before) if before.progress.is_ready() => Entry::Refreshed,
            _ if self.core.slots.get(self.slot).is_some_and(|s| s.facts().has_pillar) => {
                Entry::Again
            }
            _ => Entry::First,
        };
        match entry {
            Entry::Refreshed => log::info!("A fresh connection to the Salt Master {}", link.name()),
            _ => log::info!("Connected to the Salt Master {}", link.name()),
        }
        self.waiting_logged = false;
        tag.set(attempt);
        link.put_to_use();
        self.core.adopt(self.slot, link.clone());
        self.release(master);
        self.probers.clear();
        let (core, slot, sender) = (self.core.clone(), self.slot, self.sender.clone());
        let (reading, progress) = (link.clone(), Progress::default());
        let going = progress.clone();
        let task = tokio::spawn(async move {
            let reason = reader::run(core, slot, reading, subscriber, entry, going).await;
            drop(sender.send(Event::Lost(attempt, reason)));
        });
        let reader = Guard(task.abort_handle());
        let current = Current { attempt, link, pulse, progress, reader, _signs: signs };
        // Another connection still in use is left without a gap. Requests under way hold it until
        // they are answered; returns under way move over.
        if let Some(old) = self.current.replace(current) {
            if old.link.master() != position {
                log::info!("Leaving the Salt Master {}", old.link.name());
                tokio::spawn(keep_for_returns(self.core.clone(), old.link));
            }
            let reader = old.reader;
            let linger = tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                drop(reader);
            });
            self.left = Some(Guard(linger.abort_handle()));
        }
    }

    fn disconnect(&mut self, attempt: Attempt, reason: LossReason) {
        let Some(current) = self.current.take_if(|c| c.attempt == attempt) else { return };
        self.core.leave(self.slot, &current.link);
        self.probers.clear();
        let name = current.link.name();
        match reason {
            LossReason::Stopped | LossReason::Failback => {
                log::info!("Leaving the Salt Master {name}: {reason}");
            }
            _ => log::warn!("Connection to the Salt Master {name} lost: {reason}"),
        }
    }

    /// Asks over `link` for a proof of the key, without one for any answer.
    fn probe(&mut self, probe: Probe, master: Master, link: Option<Arc<Link>>, deadline: Duration) {
        let sender = self.sender.clone();
        let position = self.position(master);
        let access = &self.core.access;
        // The master needs its open files, so one connection does, unless requests wait on it.
        let current = self.current.as_ref().filter(|c| c.link.master() == position);
        let shared = current.map(|c| c.link.requester()).filter(|shared| shared.is_free());
        let requester = match shared {
            Some(shared) => shared.clone(),
            None => self.probers.entry(master).or_insert_with(|| access.prober(position)).clone(),
        };
        tokio::spawn(async move {
            let result = match link {
                Some(link) => attempt::prove(&link, &requester, deadline).await,
                None => verdict::ping(&requester, deadline).await,
            };
            drop(sender.send(Event::Probed(probe, result)));
        });
    }

    fn notify(&self, notice: Notice) {
        let (tag, master) = match notice {
            Notice::Connected(master) => (tags::MASTER_CONNECTED, master),
            Notice::Disconnected(master) => (tags::MASTER_DISCONNECTED, master),
            Notice::Failback(master) => (tags::MASTER_FAILBACK, master),
            Notice::Switched { from, to, reason, gap } => {
                return view::switched(&self.core, self.slot, from, to, (reason, gap));
            }
            Notice::LeaveFailed { to, verdict } => {
                return self.core.views.stayed(self.slot, to, verdict);
            }
            Notice::Refreshed(_) | Notice::Readiness => return,
        };
        self.core.bus.fire(tag, Map::from([("master", self.machine.name(master))]));
    }

    fn report_waiting(&mut self) {
        if let Status::Waiting { until, pending } = self.machine.status()
            && !self.waiting_logged
        {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs_f32();
            let what = if pending { "acceptance of our key" } else { "a Salt Master" };
            // Where several masters are used at a time, each is waited for on its own.
            let name = self.machine.order().first().map_or("", |m| self.machine.name(*m));
            let more = match self.machine.order().len() {
                0 | 1 => String::new(),
                all => format!(" and {} more", all - 1),
            };
            log::warn!(
                "Waiting for {what} ({name}{more}); next try in {seconds:.1} s, and so on until \
                 it comes"
            );
            self.waiting_logged = true;
        }
    }
}

/// What kind of verdict it is, whatever its numbers.
fn kind_of(verdict: &Verdict) -> (Discriminant<Verdict>, Option<Discriminant<Soft>>) {
    let soft = match verdict {
        Verdict::Soft(soft) => Some(discriminant(soft)),
        Verdict::Ok | Verdict::Hard(_) => None,
    };
    (discriminant(verdict), soft)
}

/// Passes a subscription's signs of life on, and its end.
fn pass_signs(attempt: Attempt, mut pulse: Pulse, sender: UnboundedSender<Event>) -> Guard {
    let task = tokio::spawn(async move {
        while pulse.sign().await {
            if sender.send(Event::Received(attempt)).is_err() {
                return;
            }
            tokio::time::sleep(SIGNS_APART).await;
        }
        drop(sender.send(Event::Ended(attempt)));
    });
    Guard(task.abort_handle())
}

/// Keeps the way to a master that was left although it lives: what its jobs return goes there
/// first. Ends when that is done, with the connection, when there is another link to this master,
/// or in time.
async fn keep_for_returns(core: Arc<Core>, link: Arc<Link>) {
    if core.link_to(link.master()).is_some() {
        return;
    }
    link.hold();
    core.keep(link.clone());
    let end = Instant::now() + KEPT_FOR_RETURNS;
    tokio::time::sleep(LINGER).await;
    let table = core.clone();
    let running = tokio::task::spawn_blocking(move || table.jobs.running()).await;
    let mut jids: Vec<String> = running
        .unwrap_or_default()
        .iter()
        .filter_map(|job| job.get_str("jid").map(str::to_owned))
        .collect();
    let wanted = || {
        let same = |other: Arc<Link>| Arc::ptr_eq(&other, &link);
        // It may have no connection just now: the next request makes one.
        core.link_to(link.master()).is_some_and(same)
    };
    while wanted() && Instant::now() < end {
        jids.retain(|jid| core.jobs.job(jid).is_some());
        if jids.is_empty() && core.returns.depth() == 0 {
            break;
        }
        tokio::time::sleep(COOLED_LOOK).await;
    }
    core.release(&link);
}
