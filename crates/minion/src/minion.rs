//! The daemon: putting the parts together, and taking them apart in time.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use saltern_config::{Loaded, MinionOptions};
use saltern_event::{Bus, BusOptions, BusPaths};
use saltern_failover::{LeaveReason, Machine};
use saltern_modules::{Call, Registry};
use saltern_value::{Map, Value};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

use crate::access::Access;
use crate::caller::masterless;
use crate::connect::{self, Command};
use crate::core::{Core, CoreParts};
use crate::settings::{Mode, Settings, StartError};
use crate::{bus, facts, periodic, returns, schedule, view};

/// Digits of the digest of the id in the names of the bus sockets, as in Salt.
const BUS_DIGITS: usize = 10;

/// Children of jobs have this long to end after SIGTERM before they are killed, and this long to
/// be gone after that.
const CHILDREN_TERM: Duration = Duration::from_millis(700);
const CHILDREN_KILL: Duration = Duration::from_millis(300);

/// Returns that are under way at the end have this long to arrive.
const LAST_RETURNS: Duration = Duration::from_millis(300);

/// The minion daemon.
pub struct Minion;

/// A running minion. Dropping it ends it without ceremony.
pub struct MinionHandle {
    core: Arc<Core>,
    commands: Vec<UnboundedSender<Command>>,
    shells: JoinSet<()>,
    // Ends with the handle.
    _tasks: JoinSet<()>,
}

impl Minion {
    /// Starts a minion in the current tokio runtime. Returns when everything local stands (keys,
    /// bus, grains); the search for a master goes on from then for as long as the minion lives.
    ///
    /// # Errors
    /// [`StartError`] for settings, keys or directories that cannot be used.
    pub async fn start(loaded: Loaded<MinionOptions>) -> Result<MinionHandle, StartError> {
        let unsigned = unsigned_publications(&loaded);
        let raw = Arc::new(facts::options(&loaded));
        let (opts, sources) = (loaded.opts, loaded.sources);
        let masters = masters(&opts, &raw).await.map_err(|e| e.placed(&sources))?;
        let mut settings = Settings::new(&opts, &masters).map_err(|e| e.placed(&sources))?;
        for dir in [&opts.cachedir, &opts.sock_dir] {
            make_dir(dir)?;
        }
        let (grains, names) = facts::grains_soon(&opts, &raw).await;
        settings.complete(&opts, |name| sources.contains_key(name), &grains);
        let grains = Arc::new(grains);
        let access = Access::open(opts, settings, &grains, unsigned)?;
        access.taken.lock().unwrap_or_else(PoisonError::into_inner).load();
        let paths = bus_paths(&access.opts, &access.settings);
        let bus = Bus::bind(&paths, bus_options(&access.opts)).map_err(|e| {
            let text = format!("the event bus {} cannot be opened: {e}", paths.publish.display());
            StartError::new(1, text)
        })?;
        let policies = access.settings.policies(&access.opts);
        let core = Core::new(CoreParts {
            bus,
            bus_path: paths.publish,
            raw,
            grains,
            slots: policies.len(),
            access,
        });
        core.jobs.remove_stale();
        if core.access.settings.mode == Mode::Disabled {
            log::warn!("option master_type: disable, so no master is connected");
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(bus::run(core.clone(), core.bus.subscribe("")));
        tasks.spawn(returns::run(core.clone()));
        tasks.spawn(periodic::run(core.clone()));
        tasks.spawn(view::keep(core.clone()));
        tasks.spawn(view::run(core.clone()));
        tasks.spawn(schedule::run(core.clone()));
        if let Some(names) = names {
            let core = core.clone();
            tasks.spawn(async move {
                if let Ok(names) = names.await {
                    core.add_names(&names);
                }
            });
        }
        let mut shells = JoinSet::new();
        let mut commands = Vec::new();
        for (slot, (policy, positions)) in policies.into_iter().enumerate() {
            let (sender, receiver) = mpsc::unbounded_channel();
            commands.push(sender);
            let machine = Machine::new(policy, fastrand::Rng::new());
            let core = core.clone();
            shells.spawn(async move {
                startup_delay(&core.access.opts).await;
                connect::run(core, slot, machine, positions, receiver).await;
            });
        }
        core.commanded_by(commands.clone());
        Ok(MinionHandle { core, commands, shells, _tasks: tasks })
    }
}

impl MinionHandle {
    /// The masters connected now, as configured.
    #[must_use]
    pub fn masters(&self) -> Vec<String> {
        let links = self.core.slots.iter().filter_map(|slot| slot.link());
        links.map(|link| link.name().to_owned()).collect()
    }

    /// Leaves the current master for another one, if there is one.
    pub fn leave_master(&self) {
        for sender in &self.commands {
            let _ = sender.send(Command::Leave { to: None, why: LeaveReason::Asked });
        }
    }

    /// Ends the minion: no new jobs, children of running ones are ended, returns under way get a
    /// moment to arrive. Takes less than one and a half seconds.
    pub async fn shutdown(mut self) {
        let core = self.core.clone();
        // Stop taking jobs before ending those that run.
        core.places.close();
        core.jobs.signal_all(15);
        if !idle(&core, CHILDREN_TERM).await {
            core.jobs.signal_all(9);
            idle(&core, CHILDREN_KILL).await;
        }
        drop(tokio::time::timeout(LAST_RETURNS, core.returned()).await);
        for sender in &self.commands {
            let _ = sender.send(Command::Stop);
        }
        // A shell in its start-up delay hears no command.
        let stopped = async { while self.shells.join_next().await.is_some() {} };
        drop(tokio::time::timeout(Duration::from_millis(50), stopped).await);
    }
}

/// Waits until no job runs; looks often, since a blocking wait would need a thread.
async fn idle(core: &Core, limit: Duration) -> bool {
    let quiet = async {
        while !core.jobs.wait_idle(Duration::ZERO) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(limit, quiet).await.is_ok()
}

/// `sign_pub_messages: False` in the configuration, as opposed to the default.
pub(crate) fn unsigned_publications(loaded: &Loaded<MinionOptions>) -> bool {
    !loaded.opts.sign_pub_messages && loaded.sources.contains_key("sign_pub_messages")
}

/// The entries of `master`; for `master_type: func`, what that function returns.
pub(crate) async fn masters(
    opts: &MinionOptions,
    raw: &Arc<Map>,
) -> Result<Vec<String>, StartError> {
    if opts.master_type != "func" {
        return Ok(opts.master.items.clone());
    }
    let fun = opts.master.items.first().cloned().unwrap_or_default();
    let (opts, raw) = (opts.clone(), raw.clone());
    let name = fun.clone();
    let work = move || {
        let host = masterless(opts, raw);
        Registry::standard().run(&Call::new(&name, Vec::new(), Map::new()), &host)
    };
    // What failed has a text of why for its value, which is no address.
    let outcome = tokio::task::spawn_blocking(work).await.ok().filter(|outcome| outcome.success);
    let listed = match outcome.map(|outcome| outcome.value) {
        Some(Value::Str(name)) => vec![name],
        Some(Value::List(list)) => {
            list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    if listed.is_empty() {
        let text = format!(
            "option master: with master_type func it names a function that returns an address or \
             a list of them, which '{fun}' did not"
        );
        return Err(StartError::new(1, text));
    }
    log::info!("Evaluated master from module: {fun}");
    Ok(listed)
}

fn make_dir(dir: &Path) -> Result<(), StartError> {
    match fs::DirBuilder::new().recursive(true).mode(0o750).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(StartError::new(
            1,
            format!("the directory {} cannot be made: {error}", dir.display()),
        )),
        _ => Ok(()),
    }
}

/// The sockets of a minion's bus.
pub(crate) fn bus_paths(opts: &MinionOptions, settings: &Settings) -> BusPaths {
    let digest = settings.hash_type.hex_digest(settings.id.as_str().as_bytes());
    BusPaths::minion(&opts.sock_dir, digest.get(..BUS_DIGITS).unwrap_or(&digest))
}

fn bus_options(opts: &MinionOptions) -> BusOptions {
    let max_event_size = usize::try_from(opts.max_event_size).ok().filter(|n| *n > 0);
    let default = BusOptions::default();
    BusOptions { max_event_size: max_event_size.unwrap_or(default.max_event_size), ..default }
}

async fn startup_delay(opts: &MinionOptions) {
    let most = u32::try_from(opts.random_startup_delay).unwrap_or(0);
    if most > 0 {
        let delay = fastrand::u32(0..=most);
        log::info!("Sleeping for {delay} seconds: random_startup_delay is {most}");
        tokio::time::sleep(Duration::from_secs(u64::from(delay))).await;
    }
}
