//! Links to other masters, kept ready for the day they are needed.

use saltern_failover::{Attempt, Input, Master, Verdict};

use super::tries::kind_of;
use super::{COOLED_LOOK, Event, Guard, Kept, Shell, Tagged};
use crate::access::Purpose;
use crate::connect::attempt::{self, NotReached};

impl Shell {
    pub(super) fn start_prepare(&mut self, attempt: Attempt, master: Master) {
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

    pub(super) fn prepared(
        &mut self,
        attempt: Attempt,
        master: Master,
        outcome: Result<Kept, NotReached>,
    ) {
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

    pub(super) fn cooled(&mut self, attempt: Attempt, master: Master) {
        if self.kept.get(&master).is_some_and(|(kept, _)| kept.attempt == attempt) {
            log::debug!("The connection kept to {} has ended", self.machine.name(master));
            self.release(master);
            self.standby_logged.remove(&master);
            self.input(Input::Cooled { master });
        }
    }

    pub(super) fn release(&mut self, master: Master) {
        if let Some((kept, _)) = self.kept.remove(&master) {
            self.core.release(&kept.tagged.link);
        }
    }
}
