//! Runs one failover machine: does what it asks for, tells it what happened. One loop, one event
//! type; every task it starts is owned here and ends with it.

mod in_use;
mod standby;
mod tries;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use saltern_event::tags;
use saltern_failover::{
    Action, Attempt, Channel, Input, LeaveReason, LossReason, Machine, Master, Notice, Probe,
    ProbeResult, Status, Verdict,
};
use saltern_transport::zeromq::{Pulse, Requester, Subscriber};
use saltern_value::Map;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use crate::connect::attempt::NotReached;
use crate::connect::reader::Progress;
use crate::core::Core;
use crate::link::{Link, LinkEvent};
use crate::view;

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

/// How often it is looked whether a link that is kept ready is still open.
const COOLED_LOOK: Duration = Duration::from_secs(2);

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
    /// What was left for a better one, for a moment.
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

    fn link_event(&mut self, attempt: Attempt, event: LinkEvent) {
        let kept = self.kept.iter().find(|(_, (kept, _))| kept.attempt == attempt);
        if let Some((master, _)) = kept {
            if matches!(event, LinkEvent::SignedOut | LinkEvent::Untrusted) {
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
            LinkEvent::Untrusted => Input::Lost { attempt, reason: LossReason::Untrusted },
        });
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
