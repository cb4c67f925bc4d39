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

use super::item::{self, Item};
use crate::core::Core;
use crate::jobs;
use crate::link::{Link, LinkError};

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

/// A master that was left may still answer what it was sent for this long.
const LEAVE: Duration = Duration::from_secs(1);

/// Told when something had to be dropped.
const DROPPED: &str = "spool/dropped";

/// Names of dropped items in that event.
const NAMED: usize = 20;

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

/// What became of a flight.
struct Landed {
    parcel: Parcel,
    /// The load, when it was not used up.
    load: Option<Arc<Map>>,
    result: Result<(), String>,
    master: String,
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
    dropped: Vec<String>,
    dropped_bytes: u64,
    /// Telling of them, one at a time and outside of the bounds it is about.
    telling: JoinSet<()>,
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
            Some(_) = sender.telling.join_next() => {}
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
        Sender {
            core,
            outbox: Outbox::new(bounds, fastrand::Rng::new()),
            held: BTreeMap::new(),
            in_memory: 0,
            last: 0,
            flights: JoinSet::new(),
            writing: JoinSet::new(),
            syncing: JoinSet::new(),
            dropped: Vec::new(),
            dropped_bytes: 0,
            telling: JoinSet::new(),
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
        [self.outbox.wake_at(&live), self.outbox.expires_at()].into_iter().flatten().min()
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
            self.dropped.push(held.what);
            self.dropped_bytes += held.bytes;
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
            self.dropped.push(item.what);
            self.dropped_bytes += item.bytes;
        }
    }

    /// Says so to whoever listens here, and to a master as soon as there is one.
    fn tell_dropped(&mut self) {
        if self.dropped.is_empty() || !self.telling.is_empty() || self.core.any_link(0).is_none() {
            return;
        }
        let dropped = std::mem::take(&mut self.dropped);
        let data = Map::from([
            ("id", Value::from(self.core.id())),
            ("count", Value::from(dropped.len() as u64)),
            ("bytes", Value::from(std::mem::take(&mut self.dropped_bytes))),
            ("what", Value::List(dropped.into_iter().take(NAMED).map(Value::from).collect())),
        ]);
        let tag = format!("salt/minion/{}/{DROPPED}", self.core.id());
        self.core.bus.fire(&tag, data.clone());
        let load = Map::from([
            ("cmd", Value::from("_minion_event")),
            ("pretag", Value::Nil),
            ("tag", tag.into()),
            ("data", Value::Map(data)),
        ]);
        let core = self.core.clone();
        self.telling.spawn(async move { tell(&core, load).await });
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
        let Landed { parcel, load, result, master } = landed;
        match result {
            Ok(()) => {
                if self.outbox.delivered(parcel)
                    && let Some(held) = self.forget(parcel)
                {
                    log::debug!("Delivered the {} to {master}", held.what);
                }
            }
            Err(error) => {
                self.outbox.failed(parcel, Instant::now());
                let Entry::Occupied(mut entry) = self.held.entry(parcel) else { return };
                let held = entry.get_mut();
                log::warn!("The {} did not reach {master}: {error}", held.what);
                if held.number.is_none() && held.load.is_none() {
                    held.load = load;
                }
            }
        }
    }
}

struct Flight {
    parcel: Parcel,
    load: Option<Arc<Map>>,
    number: Option<u64>,
    /// The master that asked, when it is not the one this goes to.
    elsewhere: Option<String>,
    /// What a large one may take beyond the usual time.
    longer: Duration,
}

impl Flight {
    async fn run(self, core: Arc<Core>, link: Arc<Link>) -> Landed {
        let master = link.name().to_owned();
        let parcel = self.parcel;
        let landed = |load, result| Landed { parcel, load, result, master };
        let load = match (self.load, self.number) {
            (Some(load), _) => load,
            (None, Some(number)) => {
                let core = core.clone();
                let read = move || core.returns.store.load(number);
                match tokio::task::spawn_blocking(read).await {
                    Ok(Ok(load)) => Arc::new(load),
                    Ok(Err(error)) => {
                        // Trying again would not make it readable.
                        log::error!("A return or event is lost: {error}");
                        return landed(None, Ok(()));
                    }
                    Err(_) => return landed(None, Err("it could not be read".to_owned())),
                }
            }
            (None, None) => return landed(None, Ok(())),
        };
        let kept = self.number.is_none().then(|| load.clone());
        let mut load = Arc::try_unwrap(load).unwrap_or_else(|shared| (*shared).clone());
        let is_return = load.get_str("cmd") == Some("_return");
        if let Some(origin) = self.elsewhere.filter(|_| is_return) {
            load.insert("origin", origin);
        }
        let what = item::what(&load);
        let result = deliver(&core, &link, load, is_return, self.longer).await;
        if result.is_ok() {
            log::debug!("{} has the {what}", link.name());
        }
        landed(kept, result)
    }
}

/// Sends an event for which a few tries must do.
async fn tell(core: &Core, load: Map) {
    for _ in 0..core.access.settings.return_tries {
        let Some(link) = core.any_link(0) else { break };
        if deliver(core, &link, load.clone(), false, Duration::ZERO).await.is_ok() {
            return;
        }
    }
    log::warn!("No master was told that returns were dropped");
}

/// Ends when this connection is not in use any more; never, when it was not.
async fn left(core: &Core, link: &Arc<Link>) {
    let own = |link_in_use: Arc<Link>| Arc::ptr_eq(&link_in_use, link);
    match core.slots.iter().position(|slot| slot.link().is_some_and(own)) {
        Some(slot) => core.left(slot, link).await,
        None => std::future::pending().await,
    }
}

/// One try.
async fn deliver(
    core: &Core,
    link: &Arc<Link>,
    load: Map,
    is_return: bool,
    longer: Duration,
) -> Result<(), String> {
    let (low, high) = core.access.settings.return_timer;
    let spread = high.saturating_sub(low).mul_f64(fastrand::f64());
    let left = async {
        left(core, link).await;
        tokio::time::sleep(LEAVE).await;
    };
    let sent = tokio::select! {
        sent = link.request(load, low + spread + longer) => sent,
        // The master is lost: no need to wait for the time to pass.
        () = left => Err(LinkError::Local("the master was left".into())),
    };
    match sent {
        // What a master says when it does not take a return: its signature, say.
        Ok(Value::Bool(false)) if is_return => Err("it does not take it".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
