//! Runs one failover machine: does what it asks for, tells it what happened. One loop, one event
//! type; every task it starts is owned here and ends with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use saltern_event::tags;
use saltern_failover::{
    Action, Attempt, Channel, Input, LeaveReason, LossReason, Machine, Master, Notice, Probe,
    ProbeResult, Status, Verdict,
};
use saltern_transport::zeromq::Requester;
use saltern_value::Map;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use crate::connect::attempt::{self, Established};
use crate::connect::reader;
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

/// What happened.
enum Event {
    Tried(Attempt, Result<Box<Established>, Verdict>),
    Lost(Attempt, LossReason),
    Probed(Probe, ProbeResult),
    Link(Attempt, LinkEvent),
}

/// The connection in use.
struct Current {
    attempt: Attempt,
    link: Arc<Link>,
    reader: AbortHandle,
}

struct Shell {
    core: Arc<Core>,
    slot: usize,
    machine: Machine,
    /// The machine's masters, as positions in `master`.
    positions: Vec<usize>,
    sender: UnboundedSender<Event>,
    tries: HashMap<Attempt, AbortHandle>,
    ready: HashMap<Attempt, Box<Established>>,
    current: Option<Current>,
    /// Connections for probes alone, so a request that waits does not hide that others do too.
    probers: HashMap<Master, Requester>,
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
        probers: HashMap::new(),
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
            Event::Tried(attempt, outcome) => {
                self.tries.remove(&attempt);
                let verdict = match outcome {
                    Ok(established) => {
                        self.ready.insert(attempt, established);
                        Verdict::Ok
                    }
                    Err(verdict) => verdict,
                };
                self.input(Input::Verdict { attempt, verdict });
            }
            Event::Lost(attempt, reason) => self.input(Input::Lost { attempt, reason }),
            Event::Probed(probe, result) => self.input(Input::Probed { probe, result }),
            Event::Link(attempt, LinkEvent::Heard) => self.input(Input::Heard { attempt }),
            Event::Link(attempt, LinkEvent::Suspect) => self.input(Input::Suspect { attempt }),
            Event::Link(attempt, LinkEvent::SignedOut) => {
                self.input(Input::Lost { attempt, reason: LossReason::SignedOut });
            }
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
            Action::Try { attempt, master, .. } | Action::Prepare { attempt, master } => {
                self.start_try(attempt, master);
            }
            Action::Release { .. } | Action::Probe { channel: Channel::Publications, .. } => {}
            Action::Abandon { attempt } => {
                if let Some(task) = self.tries.remove(&attempt) {
                    task.abort();
                }
                self.ready.remove(&attempt);
            }
            Action::Adopt { attempt, master } => self.adopt(attempt, master),
            Action::Disconnect { attempt, reason } => self.disconnect(attempt, reason),
            Action::Probe { probe, master, authenticated, deadline, .. } => {
                self.probe(probe, master, authenticated, deadline);
            }
            Action::Notify(notice) => self.notify(notice),
        }
    }

    fn position(&self, master: Master) -> usize {
        self.positions.get(master.0).copied().unwrap_or_default()
    }

    fn start_try(&mut self, attempt: Attempt, master: Master) {
        let (access, position) = (self.core.access.clone(), self.position(master));
        let sender = self.sender.clone();
        let events = self.link_events(attempt);
        let task = tokio::spawn(async move {
            let outcome = attempt::establish(access, position, events).await;
            drop(sender.send(Event::Tried(attempt, outcome.map(Box::new))));
        });
        self.tries.insert(attempt, task.abort_handle());
    }

    /// A channel for what a link has to say, which arrives here under its attempt's name.
    fn link_events(&self, attempt: Attempt) -> UnboundedSender<LinkEvent> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let events = self.sender.clone();
        // Ends with the link, which holds the only sender.
        tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                if events.send(Event::Link(attempt, event)).is_err() {
                    return;
                }
            }
        });
        sender
    }

    fn adopt(&mut self, attempt: Attempt, master: Master) {
        let Some(established) = self.ready.remove(&attempt) else {
            // Cannot happen; the machine is told rather than left waiting.
            drop(self.sender.send(Event::Lost(attempt, LossReason::Closed)));
            return;
        };
        let Established { link, subscriber } = *established;
        log::info!("Connected to the Salt Master {}", self.machine.name(master));
        self.waiting_logged = false;
        self.core.adopt(self.slot, link.clone());
        let (core, slot, sender) = (self.core.clone(), self.slot, self.sender.clone());
        let reading = link.clone();
        let task = tokio::spawn(async move {
            let reason = reader::run(core, slot, reading, subscriber).await;
            drop(sender.send(Event::Lost(attempt, reason)));
        });
        let current = Current { attempt, link, reader: task.abort_handle() };
        // On a failback the old connection is still here. Requests under way hold it until they
        // are answered; returns under way move over.
        if let Some(old) = self.current.replace(current) {
            old.reader.abort();
            log::info!("Leaving the Salt Master {}", old.link.name());
        }
    }

    fn disconnect(&mut self, attempt: Attempt, reason: LossReason) {
        let Some(current) = self.current.take_if(|c| c.attempt == attempt) else { return };
        current.reader.abort();
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

    fn probe(
        &mut self,
        probe: Probe,
        master: Master,
        authenticated: bool,
        deadline: std::time::Duration,
    ) {
        let sender = self.sender.clone();
        let link = self.current.as_ref().map(|c| c.link.clone()).filter(|_| authenticated);
        let position = self.position(master);
        let access = &self.core.access;
        let requester =
            self.probers.entry(master).or_insert_with(|| access.requester(position)).clone();
        tokio::spawn(async move {
            let result = match link {
                Some(link) => attempt::prove(&link, deadline).await,
                None => attempt::ping(&requester, deadline).await,
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
            log::warn!("Waiting for {what}; next try in {seconds:.1} s, and so on until it comes");
            self.waiting_logged = true;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for task in self.tries.values() {
            task.abort();
        }
        if let Some(current) = &self.current {
            current.reader.abort();
        }
    }
}
