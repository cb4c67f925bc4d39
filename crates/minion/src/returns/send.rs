//! Delivers returns: a few at a time, to the master they were asked by or to one that lives, until
//! one acknowledges each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use saltern_failover::{Bounds, Master, Outbox, Parcel};
use saltern_value::{Map, Value};
use tokio::task::JoinSet;

use super::dropped::{self, Debt};
use super::flight::{End, Flight, Landed, deliver};
use super::item::Item;
use crate::core::Core;
use crate::jobs;

/// Returns under way at a time: more would not reach a master sooner.
const AT_ONCE: usize = 8;

/// Most items and bytes written down together.
const BATCH: usize = 1000;
const BATCH_BYTES: u64 = 16 << 20;

/// Bytes of loads kept in memory beside the disk; the others are read when their turn comes.
const IN_MEMORY: u64 = 8 << 20;

/// A load this large is not kept in memory after a failed try.
const LARGE: u64 = 64 << 10;

/// A try takes this much longer for each so many bytes.
const BYTES_A_SECOND: u64 = 4 << 20;

/// Told when something had to be dropped.
const DROPPED: &str = "spool/dropped";

/// What the sender knows of an item.
struct Held {
    /// `None` when it is only on disk.
    load: Option<Arc<Map>>,
    bytes: u64,
    origin: Option<String>,
    /// Its number on disk.
    number: Option<u64>,
    /// See [`Item::closes`]; only for what is not on disk.
    closes: Option<u64>,
    what: String,
}

/// Items written down, and what to remove then.
type Written = (Vec<Item>, Vec<Option<u64>>, Vec<PathBuf>);

struct Sender {
    core: Arc<Core>,
    outbox: Outbox,
    held: BTreeMap<Parcel, Held>,
    in_memory: u64,
    last: u64,
    flights: JoinSet<Landed>,
    /// At most one at a time: what comes meanwhile shares the next one.
    writing: JoinSet<Written>,
    syncing: JoinSet<()>,
    /// What was dropped and no master knows of yet: outside of the bounds that it is about.
    debt: Debt,
    /// One at a time, as the writing of it.
    telling: JoinSet<Result<(), String>>,
    noting: JoinSet<()>,
}

/// Runs for the life of the minion.
pub(crate) async fn run(core: Arc<Core>) {
    let mut sender = Sender::new(core.clone());
    sender.open();
    loop {
        sender.turn();
        let wake = sender.wake_at();
        let pause = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = core.returns.changed.notified() => {}
            () = pause => {}
            Some(Ok(landed)) = sender.flights.join_next() => sender.landed(landed),
            Some(Ok(written)) = sender.writing.join_next() => sender.written(written),
            Some(_) = sender.syncing.join_next() => {}
            Some(told) = sender.telling.join_next() => {
                sender.told(told.unwrap_or_else(|error| Err(error.to_string())));
            }
            Some(_) = sender.noting.join_next() => {}
        }
    }
}

impl Sender {
    fn new(core: Arc<Core>) -> Self {
        let settings = &core.access.settings;
        let bounds = Bounds {
            bytes: settings.spool_bytes,
            items: settings.spool_items,
            age: settings.spool_age,
            tries: settings.return_tries,
            flights: AT_ONCE,
        };
        let debt = Debt::read(core.returns.store.beside(dropped::FILE));
        Sender {
            core,
            outbox: Outbox::new(bounds, fastrand::Rng::new()),
            held: BTreeMap::new(),
            in_memory: 0,
            last: 0,
            flights: JoinSet::new(),
            writing: JoinSet::new(),
            syncing: JoinSet::new(),
            debt,
            telling: JoinSet::new(),
            noting: JoinSet::new(),
        }
    }

    /// Takes over what a former run of the minion has left.
    fn open(&mut self) {
        let opened = {
            let mut opened =
                self.core.returns.opened.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *opened)
        };
        if !opened.items.is_empty() {
            log::info!("{} returns and events from before wait for a master", opened.items.len());
        }
        for (number, label, bytes) in opened.items {
            let held = Held {
                load: None,
                bytes,
                origin: label.origin,
                number: Some(number),
                closes: None,
                what: "return or event from before the start".to_owned(),
            };
            self.add(held, label.made);
        }
        for (number, origin, job) in opened.begun {
            let jid = job.get_str("jid").unwrap_or_default();
            log::error!("Job {jid} is lost: the minion ended while it ran");
            self.core.seen.lock().unwrap_or_else(PoisonError::into_inner).is_new(jid);
            let load = jobs::lost(self.core.id(), &job);
            self.core.returns.push(Item { closes: Some(number), ..Item::new(load, origin) });
        }
        self.core.returns.left();
    }

    /// Does what can be done now.
    fn turn(&mut self) {
        let released = std::mem::take(&mut self.core.returns.inbox().released);
        for master in released {
            self.outbox.released(Master(master));
            self.debt.released();
        }
        self.drop_unwritten();
        self.write();
        if self.syncing.is_empty()
            && self.writing.is_empty()
            && self.core.returns.store.is_unsynced()
        {
            let core = self.core.clone();
            self.syncing.spawn_blocking(move || core.returns.store.sync());
        }
        let expired = self.outbox.expire(Instant::now());
        self.drop_all(expired, "it is older than failover_spool_max_age");
        let live = self.live();
        while let Some((parcel, master)) = self.outbox.next(Instant::now(), &live) {
            self.send(parcel, master);
        }
        self.tell_dropped();
        self.core.returns.held.store(self.held.len(), Ordering::Relaxed);
    }

    fn wake_at(&self) -> Option<Instant> {
        let live = self.live();
        let tell = self.debt.due_at().filter(|_| self.telling.is_empty() && !live.is_empty());
        [self.outbox.wake_at(&live), self.outbox.expires_at(), tell].into_iter().flatten().min()
    }

    /// The masters that can be asked, those in use first.
    fn live(&self) -> Vec<Master> {
        let used = self.core.slots.iter().filter_map(|slot| slot.link()).map(|link| link.master());
        let mut live: Vec<Master> = used.map(Master).collect();
        if live.is_empty() && self.held.is_empty() {
            return live;
        }
        let all = 0..self.core.access.settings.masters.len();
        live.extend(all.map(Master).filter(|m| self.core.link_to(m.0).is_some()));
        let mut seen = Vec::with_capacity(live.len());
        live.retain(|m| {
            !seen.contains(m) && {
                seen.push(*m);
                true
            }
        });
        live
    }

    /// Writes down what has come in.
    fn write(&mut self) {
        if !self.writing.is_empty() {
            return;
        }
        let (mut batch, mut bytes, mut at_once) = (Vec::new(), 0, Vec::new());
        let left = {
            let mut inbox = self.core.returns.inbox();
            while batch.len() < BATCH && bytes < BATCH_BYTES {
                let Some(item) = inbox.items.pop_front() else { break };
                if item.must_last() {
                    bytes += item.weight();
                    batch.push(item);
                } else {
                    at_once.push(item);
                }
            }
            std::mem::take(&mut inbox.left)
        };
        for item in at_once {
            self.take(item, None);
        }
        if batch.is_empty() && !left {
            return;
        }
        self.core.returns.unwritten.store(batch.len(), Ordering::Relaxed);
        let core = self.core.clone();
        self.writing.spawn_blocking(move || {
            let store = &core.returns.store;
            let mut files = Vec::new();
            if left {
                for (path, item) in store.left_by_calls() {
                    files.push(path);
                    batch.push(item);
                }
            }
            let numbers = store.keep(&batch);
            (batch, numbers, files)
        });
    }

    fn written(&mut self, (items, numbers, files): Written) {
        let lasting = numbers.iter().all(Option::is_some);
        for (item, number) in items.into_iter().zip(numbers) {
            self.take(item, number);
        }
        for file in files.into_iter().filter(|_| lasting) {
            drop(std::fs::remove_file(file));
        }
        self.core.returns.held.store(self.held.len(), Ordering::Relaxed);
        self.core.returns.unwritten.store(0, Ordering::Relaxed);
    }

    fn take(&mut self, item: Item, number: Option<u64>) {
        let bytes = item.weight();
        let what = item.what();
        let keep = number.is_none() || self.in_memory < IN_MEMORY;
        let held = Held {
            bytes,
            origin: item.origin.clone(),
            number,
            closes: item.closes.filter(|_| number.is_none()),
            what,
            load: keep.then_some(item.load),
        };
        self.add(held, item.made);
    }

    fn add(&mut self, held: Held, made: SystemTime) {
        let age = SystemTime::now().duration_since(made).unwrap_or_default();
        let masters = &self.core.access.settings.masters;
        let origin = held
            .origin
            .as_deref()
            .and_then(|name| masters.iter().position(|address| address.name() == name));
        self.last += 1;
        let parcel = Parcel(self.last);
        if held.load.is_some() {
            self.in_memory += held.bytes;
        }
        let bytes = held.bytes;
        self.held.insert(parcel, held);
        let dropped = self.outbox.add(parcel, origin.map(Master), bytes, age, Instant::now());
        self.drop_all(dropped, "no master has taken it, and newer ones need the room");
    }

    fn drop_all(&mut self, parcels: Vec<Parcel>, why: &str) {
        for parcel in parcels {
            let Some(held) = self.forget(parcel) else { continue };
            log::error!("The {} is dropped: {why}", held.what);
            self.core.returns.note_lost(1);
            self.debt.add(held.what, held.bytes);
        }
    }

    /// What found no room before the disk took it goes as loudly as the rest.
    fn drop_unwritten(&mut self) {
        let dropped = std::mem::take(&mut self.core.returns.inbox().dropped);
        for item in dropped {
            log::error!("The {} is dropped: too many wait for the disk", item.what);
            if let Some(number) = item.closes {
                self.core.returns.store.done(number);
            }
            self.debt.add(item.what, item.bytes);
        }
    }

    /// Says what was dropped to whoever listens here, and to a master as soon as there is one.
    fn tell_dropped(&mut self) {
        self.note_debt();
        if !self.telling.is_empty() {
            return;
        }
        let slot = self.debt.tries() % self.core.slots.len().max(1);
        let Some(link) = self.core.any_link(slot) else { return };
        let Some((told, first)) = self.debt.due(Instant::now()) else { return };
        let mut data = Map::from([("id", self.core.id())]);
        data.extend(told);
        let tag = format!("salt/minion/{}/{DROPPED}", self.core.id());
        if first {
            self.core.bus.fire(&tag, data.clone());
        }
        let load = Map::from([
            ("cmd", Value::from("_minion_event")),
            ("pretag", Value::Nil),
            ("tag", tag.into()),
            ("data", Value::Map(data)),
        ]);
        let core = self.core.clone();
        self.telling.spawn(async move { deliver(&core, &link, load, false, Duration::ZERO).await });
    }

    /// A master has been told, or not.
    fn told(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => self.debt.told(),
            Err(error) => {
                let tries = self.debt.tries();
                self.debt.failed(Instant::now());
                // A master that takes no events is told of once, not every minute.
                if tries == 0 {
                    log::warn!(
                        "No master knows yet that returns were dropped ({error}); it is told \
                         until one does"
                    );
                }
            }
        }
    }

    /// Writes down what is to be told, for the time after this program.
    fn note_debt(&mut self) {
        if !self.noting.is_empty() {
            return;
        }
        let Some(note) = self.debt.note() else {
            self.core.returns.debt_noted();
            return;
        };
        self.noting.spawn_blocking(move || note.write());
    }

    fn forget(&mut self, parcel: Parcel) -> Option<Held> {
        let held = self.held.remove(&parcel)?;
        if held.load.is_some() {
            self.in_memory = self.in_memory.saturating_sub(held.bytes);
        }
        for number in [held.number, held.closes].into_iter().flatten() {
            self.core.returns.store.done(number);
        }
        Some(held)
    }

    fn send(&mut self, parcel: Parcel, master: Master) {
        let (Some(held), Some(link)) = (self.held.get_mut(&parcel), self.core.link_to(master.0))
        else {
            self.outbox.failed(parcel, Instant::now());
            return;
        };
        // A large one that is on disk is not copied for a second try.
        let load = if held.number.is_some() && held.bytes > LARGE {
            let load = held.load.take();
            if load.is_some() {
                self.in_memory = self.in_memory.saturating_sub(held.bytes);
            }
            load
        } else {
            held.load.clone()
        };
        let flight = Flight {
            parcel,
            load,
            number: held.number,
            elsewhere: held.origin.clone().filter(|origin| *origin != link.name()),
            longer: Duration::from_secs(held.bytes / BYTES_A_SECOND),
        };
        self.flights.spawn(flight.run(self.core.clone(), link));
    }

    fn landed(&mut self, landed: Landed) {
        let Landed { parcel, load, end, master } = landed;
        match end {
            End::Delivered => {
                if self.outbox.delivered(parcel)
                    && let Some(held) = self.forget(parcel)
                {
                    log::debug!("Delivered the {} to {master}", held.what);
                }
            }
            End::Failed(error) => {
                self.outbox.failed(parcel, Instant::now());
                let Entry::Occupied(mut entry) = self.held.entry(parcel) else { return };
                let held = entry.get_mut();
                log::warn!("The {} did not reach {master}: {error}", held.what);
                if held.number.is_none() && held.load.is_none() {
                    held.load = load;
                }
            }
            End::Gone(why) => {
                self.outbox.delivered(parcel);
                self.drop_all(vec![parcel], &why);
            }
        }
    }
}
