//! The minion's own view of its masters: what the connection machines say of themselves, what each
//! sign-in said, and both together as operators see them: in `failover.status`, in a file for the
//! time when nobody runs to be asked, and in reports to the master.

mod file;
mod notes;
mod report;
mod shown;
mod switch;

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use saltern_failover::{Machine, Master, Readiness, Status, Switch, Verdict};
use tokio::sync::watch;

pub(crate) use file::{keep, read};
pub(crate) use notes::Notes;
pub(crate) use report::{run, switched};
pub(crate) use shown::shown;
pub(crate) use switch::{ASKED, ask, asked, move_away};

/// What one machine shows of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Where it stands; `None` before its start.
    pub(crate) status: Option<Status>,
    /// What is known of each of its masters.
    pub(crate) readiness: Vec<Readiness>,
    /// How long the master in use takes to answer.
    pub(crate) latency: Option<Duration>,
    /// The last change of the master in use.
    pub(crate) switch: Option<Switch>,
    /// Its masters, as positions in the whole list.
    pub(crate) positions: Vec<usize>,
    /// The last wish to leave that came to nothing.
    pub(crate) stayed: Option<Stayed>,
}

/// A wish to leave that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stayed {
    /// Counts them.
    pub(crate) number: u64,
    /// Where to, as a position in the whole list; `None` for anywhere.
    pub(crate) to: Option<usize>,
    /// What the last master asked said.
    pub(crate) verdict: Option<Verdict>,
}

impl View {
    /// A machine's master as its position in the whole list.
    pub(crate) fn position(&self, master: Master) -> Option<usize> {
        self.positions.get(master.0).copied()
    }

    /// The master in use, as its position in the whole list.
    pub(crate) fn current(&self) -> Option<usize> {
        match self.status {
            Some(Status::Connected { master, .. }) => self.position(master),
            _ => None,
        }
    }
}

/// The views of all machines, and who waits for their changes.
pub(crate) struct Views {
    slots: RwLock<Vec<View>>,
    changed: watch::Sender<u64>,
}

impl Views {
    /// For so many machines.
    pub(crate) fn new(slots: usize) -> Self {
        Views { slots: RwLock::new(vec![View::default(); slots]), changed: watch::Sender::new(0) }
    }

    /// Shows where a machine stands now. Cheap; to be called after each of its inputs. A change
    /// of the latency alone wakes nobody.
    pub(crate) fn show(&self, slot: usize, machine: &Machine, positions: &[usize]) {
        let news = self.change(slot, |view| {
            let (status, readiness) = (Some(machine.status()), machine.readiness());
            let switch = machine.last_switch();
            view.latency = machine.latency();
            let same = view.status == status
                && view.readiness == readiness
                && view.switch == switch
                && view.positions == positions;
            if !same {
                (view.status, view.readiness, view.switch) = (status, readiness, switch);
                view.positions = positions.to_vec();
            }
            !same
        });
        if news {
            self.wake();
        }
    }

    /// A wish to leave came to nothing.
    pub(crate) fn stayed(&self, slot: usize, to: Option<Master>, verdict: Option<Verdict>) {
        self.change(slot, |view| {
            let number = view.stayed.map_or(1, |s| s.number + 1);
            let to = to.and_then(|master| view.position(master));
            view.stayed = Some(Stayed { number, to, verdict });
            true
        });
        self.wake();
    }

    /// The views as they are now.
    pub(crate) fn all(&self) -> Vec<View> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Marks changes from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Something changed that stands elsewhere: the returns that wait, what a sign-in said.
    pub(crate) fn wake(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn change(&self, slot: usize, change: impl FnOnce(&mut View) -> bool) -> bool {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.get_mut(slot).is_some_and(change)
    }
}
