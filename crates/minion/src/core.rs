//! What all parts of a running minion share: facts, connections, jobs, returns, the bus.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use saltern_event::Bus;
use saltern_failover::Seen;
use saltern_modules::{JobTable, Registry};
use saltern_value::{Map, Value};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, watch};

use crate::access::Access;
use crate::connect::Command;
use crate::facts;
use crate::link::{Link, LinkError};
use crate::returns::{Item, Returns};
use crate::schedule::Schedule;
use crate::view::Views;

/// How long jobs of a new master wait for its pillar when there is one from before.
const PILLAR_PATIENCE: Duration = Duration::from_secs(15);

/// Fired when a pillar has come (Salt's tag).
const PILLAR_COMPLETE: &str = "/salt/minion/minion_pillar_refresh_complete";

/// The shared state of a minion.
pub(crate) struct Core {
    pub(crate) access: Arc<Access>,
    pub(crate) registry: Registry,
    pub(crate) jobs: JobTable,
    pub(crate) seen: Mutex<Seen>,
    /// Places for jobs that run at the same time.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) bus: Bus,
    pub(crate) bus_path: std::path::PathBuf,
    pub(crate) slots: Vec<Slot>,
    /// What the connection machines show of themselves.
    pub(crate) views: Views,
    /// The way to them.
    commands: OnceLock<Vec<UnboundedSender<Command>>>,
    /// Links to masters not in use.
    kept: Mutex<Vec<Arc<Link>>>,
    /// What this minion does by itself.
    pub(crate) schedule: Arc<Schedule>,
    /// Every option, as the configuration has it.
    pub(crate) raw: Arc<Map>,
    pub(crate) runtime: tokio::runtime::Handle,
    /// The way of returns and events to a master.
    pub(crate) returns: Returns,
    /// Publications that could not be opened, and so not looked at, since the start.
    pub(crate) unread: AtomicUsize,
    /// Events for a master that others on this machine fired, and that are none.
    pub(crate) no_events: AtomicUsize,
}

/// The place of one connection: the only one, or one for each hot master.
pub(crate) struct Slot {
    link: watch::Sender<Option<Arc<Link>>>,
    facts: RwLock<Facts>,
}

/// What modules and targets look at. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) opts: Arc<Map>,
    pub(crate) grains: Arc<Map>,
    pub(crate) pillar: Arc<Map>,
    /// The pillar has come from a master.
    pub(crate) has_pillar: bool,
}

pub(crate) struct CoreParts {
    pub(crate) access: Arc<Access>,
    pub(crate) bus: Bus,
    pub(crate) bus_path: std::path::PathBuf,
    pub(crate) raw: Arc<Map>,
    pub(crate) grains: Arc<Map>,
    pub(crate) slots: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Puts the parts together; every slot has no connection yet.
    pub(crate) fn new(parts: CoreParts) -> Arc<Self> {
        let settings = &parts.access.settings;
        let facts = Facts { opts: parts.raw.clone(), grains: parts.grains, ..Facts::default() };
        let mut seen = Seen::new(settings.jids_remembered);
        for jid in lock(&parts.access.taken).jids() {
            seen.is_new(jid.as_str());
        }
        Arc::new(Core {
            registry: Registry::standard(),
            jobs: JobTable::new(&parts.access.opts.cachedir, true),
            seen: Mutex::new(seen),
            places: Arc::new(Semaphore::new(settings.jobs_at_once)),
            bus: parts.bus,
            bus_path: parts.bus_path,
            slots: (0..parts.slots.max(1)).map(|_| Slot::new(facts.clone())).collect(),
            schedule: Arc::new(Schedule::new(&parts.raw)),
            views: Views::new(parts.slots),
            commands: OnceLock::new(),
            kept: Mutex::default(),
            raw: parts.raw,
            runtime: tokio::runtime::Handle::current(),
            returns: Returns::open(&parts.access.opts.cachedir, settings.spool_items),
            unread: AtomicUsize::new(0),
            no_events: AtomicUsize::new(0),
            access: parts.access,
        })
    }

    /// The minion's id.
    pub(crate) fn id(&self) -> &str {
        self.access.settings.id.as_str()
    }

    /// Hands a message for the master of a slot over for delivery. Never blocks.
    pub(crate) fn queue(&self, slot: usize, load: Map) {
        let origin = self.slots.get(slot).and_then(Slot::link).map(|link| link.name().to_owned());
        self.returns.push(Item::new(load, origin));
    }

    /// Waits until every return is on disk, and none waits for a master that is there.
    pub(crate) async fn returned(&self) {
        let sent = || self.returns.depth() == 0 || self.any_link(0).is_none();
        while !(self.returns.is_written() && sent()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Takes the way to the connection machines, once.
    pub(crate) fn commanded_by(&self, commands: Vec<UnboundedSender<Command>>) {
        drop(self.commands.set(commands));
    }

    /// Asks something of the connection machine of a slot.
    pub(crate) fn command(&self, slot: usize, command: Command) {
        if let Some(machine) = self.commands.get().and_then(|all| all.get(slot)) {
            // It ends only with the minion.
            let _ = machine.send(command);
        }
    }

    /// The connection to that master, in use or kept.
    pub(crate) fn link_to(&self, master: usize) -> Option<Arc<Link>> {
        let used = self.slots.iter().filter_map(Slot::link).find(|link| link.master() == master);
        used.or_else(|| lock(&self.kept).iter().find(|link| link.master() == master).cloned())
    }

    /// A link to a master not in use is there from now on, in the place of another one to it.
    pub(crate) fn keep(&self, link: Arc<Link>) {
        let mut kept = lock(&self.kept);
        kept.retain(|old| old.master() != link.master());
        let master = link.master();
        kept.push(link);
        drop(kept);
        self.returns.released(master);
    }

    /// That link is not kept any more.
    pub(crate) fn release(&self, link: &Arc<Link>) {
        lock(&self.kept).retain(|kept| !Arc::ptr_eq(kept, link));
    }

    /// The connection of a slot, or any other when it has none.
    pub(crate) fn any_link(&self, slot: usize) -> Option<Arc<Link>> {
        let own = self.slots.get(slot).and_then(Slot::link);
        own.or_else(|| self.slots.iter().find_map(Slot::link))
    }

    /// A connection is in use from now on.
    pub(crate) fn adopt(&self, slot: usize, link: Arc<Link>) {
        let Some(place) = self.slots.get(slot) else { return };
        let address = self.access.settings.masters.get(link.master());
        let host = address.map_or("", |a| a.host()).to_owned();
        place.update(|facts| {
            let mut opts = (*facts.opts).clone();
            opts.insert("master", host.as_str());
            if let Some(address) = address {
                opts.insert("master_uri", format!("tcp://{}", address.requests()));
            }
            facts.opts = Arc::new(opts);
            let mut grains = (*facts.grains).clone();
            grains.insert("master", host.as_str());
            facts.grains = Arc::new(grains);
        });
        let master = link.master();
        place.link.send_replace(Some(link));
        self.returns.released(master);
    }

    /// A connection is not in use any more.
    pub(crate) fn leave(&self, slot: usize, link: &Arc<Link>) {
        if let Some(place) = self.slots.get(slot) {
            place.link.send_if_modified(|current| {
                let same = current.as_ref().is_some_and(|c| Arc::ptr_eq(c, link));
                if same {
                    *current = None;
                }
                same
            });
        }
    }

    /// Ends when this connection is not the one of its slot any more.
    pub(crate) async fn left(&self, slot: usize, link: &Arc<Link>) {
        // A return may travel over another slot's connection: then only its own time-out counts.
        let Some(place) = self.slots.get(slot) else { return std::future::pending().await };
        if !place.link().is_some_and(|c| Arc::ptr_eq(&c, link)) {
            return std::future::pending().await;
        }
        let mut watch = place.link.subscribe();
        let gone = |c: &Option<Arc<Link>>| !c.as_ref().is_some_and(|c| Arc::ptr_eq(c, link));
        drop(watch.wait_for(gone).await);
    }

    /// Asks for the pillar and keeps it.
    pub(crate) async fn refresh_pillar(&self, slot: usize, link: &Link) -> Result<(), String> {
        let Some(place) = self.slots.get(slot) else { return Ok(()) };
        let facts = place.facts();
        let timeout = if facts.has_pillar {
            PILLAR_PATIENCE.min(self.access.settings.request_timeout)
        } else {
            self.access.settings.request_timeout
        };
        let load = pillar_load(&facts, None, None, None);
        let pillar = link.pillar(load, timeout).await.map_err(|e: LinkError| e.to_string())?;
        if let Some(errors) = pillar.get("_errors") {
            return Err(format!("it has errors: {errors:?}"));
        }
        place.update(|facts| {
            facts.pillar = Arc::new(pillar);
            facts.has_pillar = true;
        });
        self.schedule_from_pillars();
        self.bus.fire(PILLAR_COMPLETE, Map::from([("complete", true)]));
        Ok(())
    }

    /// One schedule for all masters: a job that several of them name runs once.
    fn schedule_from_pillars(&self) {
        let mut jobs = Map::new();
        for slot in self.slots.iter().rev() {
            if let Some(Value::Map(own)) = slot.facts().pillar.get("schedule") {
                jobs.extend(own.clone());
            }
        }
        self.schedule.set_pillar(jobs);
    }

    /// Computes the grains again.
    pub(crate) async fn refresh_grains(&self) {
        let (access, raw) = (self.access.clone(), self.raw.clone());
        let work = move || facts::grains(&access.opts, &raw);
        let Ok(fresh) = tokio::task::spawn_blocking(work).await else { return };
        self.change_grains(|_| fresh.clone());
    }

    /// Adds grains that took longer.
    pub(crate) fn add_names(&self, names: &Map) {
        self.change_grains(|old| {
            let mut grains = old.clone();
            facts::add_names(&mut grains, names.clone());
            grains
        });
    }

    /// Changes the grains of each slot, which keeps its own master.
    fn change_grains(&self, change: impl Fn(&Map) -> Map) {
        for slot in &self.slots {
            slot.update(|facts| {
                let mut fresh = change(&facts.grains);
                if let Some(master) = facts.grains.get("master") {
                    fresh.insert("master", master.clone());
                }
                facts.grains = Arc::new(fresh);
            });
        }
    }

    /// Sends an event to the master of a slot; kept for later when there is none.
    pub(crate) fn send_event(&self, slot: usize, mut load: Map) {
        load.insert("cmd", "_minion_event");
        self.queue(slot, load);
    }
}

/// The load of a pillar request.
pub(crate) fn pillar_load(
    facts: &Facts,
    saltenv: Option<&str>,
    pillarenv: Option<&str>,
    overrides: Option<&Map>,
) -> Map {
    let option = |name: &str| facts.opts.get(name).cloned().unwrap_or_default();
    let or_option =
        |given: Option<&str>, name: &str| given.map_or_else(|| option(name), Value::from);
    Map::from([
        ("grains", Value::Map((*facts.grains).clone())),
        ("saltenv", or_option(saltenv, "saltenv")),
        ("pillarenv", or_option(pillarenv, "pillarenv")),
        ("pillar_override", Value::Map(overrides.cloned().unwrap_or_default())),
        ("extra_minion_data", Value::Map(Map::new())),
        ("ver", Value::from("2")),
        ("cmd", Value::from("_pillar")),
    ])
}

impl Slot {
    fn new(facts: Facts) -> Self {
        Slot { link: watch::Sender::new(None), facts: RwLock::new(facts) }
    }

    /// The connection in use.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    /// The connection in use, as soon as there is one; `None` when the minion ends.
    pub(crate) async fn connected(&self) -> Option<Arc<Link>> {
        let mut watch = self.link.subscribe();
        watch.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// The facts as they are now.
    pub(crate) fn facts(&self) -> Facts {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.write().unwrap_or_else(PoisonError::into_inner));
    }
}
