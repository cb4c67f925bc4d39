//! Tries to get a connection to a master, and what the log says of those that fail.

use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use saltern_failover::{Attempt, Input, Master, Soft, Verdict};
use saltern_transport::zeromq::Pulse;
use tokio::sync::mpsc::UnboundedSender;

use super::{Established, Event, Guard, Shell, Tag, Tagged};
use crate::access::Purpose;
use crate::connect::attempt::{self, NotReached};
use crate::link::Tell;

/// After this time the log repeats why a master cannot be used.
const SAME_AGAIN: Duration = Duration::from_secs(60);

/// Signs of life are passed on at most this often.
const SIGNS_APART: Duration = Duration::from_millis(10);

impl Shell {
    pub(super) fn start_try(&mut self, attempt: Attempt, master: Master, warm: bool) {
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

    /// A name for the events of a link to be, and the way they take.
    pub(super) fn tag(&self, attempt: Attempt) -> (Tag, Tell) {
        let tag = Tag::new(attempt);
        let (name, sender) = (tag.clone(), self.sender.clone());
        let tell: Tell = Box::new(move |event| drop(sender.send(Event::Link(name.get(), event))));
        (tag, tell)
    }

    pub(super) fn tried(
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
}

/// What kind of verdict it is, whatever its numbers.
pub(super) fn kind_of(verdict: &Verdict) -> (Discriminant<Verdict>, Option<Discriminant<Soft>>) {
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
