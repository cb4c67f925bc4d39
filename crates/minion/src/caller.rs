//! The core of `salt-call`: one function, with or without a master. Without one it opens no
//! socket, makes no key, and computes grains and pillar only when they are asked for.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use saltern_base::Jid;
use saltern_base::time::stamp;
use saltern_config::{Loaded, MinionOptions};
use saltern_event::{Framing, blocking};
use saltern_failover::{Soft, Verdict};
use saltern_modules::{Call, EventStream, Host, HostError, JobTable, Outcome, Refresh, Registry};
use saltern_value::{Map, Value};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::access::{Access, NotSignedIn, Purpose};
use crate::core::{Facts, pillar_load};
use crate::host::{host_error, open_bus, pinged, wait_for};
use crate::link::Link;
use crate::minion::bus_paths;
use crate::settings::{Settings, StartError};
use crate::{facts, jobs, returns, view};

/// How long the local bus may take to take an event.
const PUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a call did not come to run.
#[derive(Debug)]
pub enum CallError {
    /// Settings or keys that cannot be used.
    Start(StartError),
    /// No master took us; one sentence.
    NoMaster(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Start(error) => write!(f, "{error}"),
            CallError::NoMaster(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CallError {}

impl From<StartError> for CallError {
    fn from(error: StartError) -> Self {
        CallError::Start(error)
    }
}

/// Prints a line to the user at once.
type Emit = Box<dyn Fn(&str) + Send + Sync>;

/// Calls functions on this machine.
pub struct Caller {
    opts: MinionOptions,
    raw: Arc<Map>,
    sources_say_unsigned: bool,
    emit: Option<Emit>,
}

impl Caller {
    /// A caller with these options. Does nothing yet.
    #[must_use]
    pub fn new(loaded: Loaded<MinionOptions>) -> Self {
        let raw = Arc::new(facts::options(&loaded));
        let sources_say_unsigned = crate::minion::unsigned_publications(&loaded);
        Caller { opts: loaded.opts, raw, sources_say_unsigned, emit: None }
    }

    /// Where functions that follow something (`state.event`) print their lines.
    #[must_use]
    pub fn emit(mut self, emit: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.emit = Some(Box::new(emit));
        self
    }

    /// Runs a function without any master (`--local`), on this thread.
    #[must_use]
    pub fn call_local(self, call: Call) -> Outcome {
        let host = Arc::new(CallHost::new(self.opts, self.raw, self.emit, None));
        run(&host, call)
    }

    /// Signs in at the first master of the list that takes us, fetches the pillar, runs the
    /// function, and reports its return to that master. Waits while all masters that answer hold
    /// our key for acceptance.
    ///
    /// # Errors
    /// [`CallError`] when the function did not come to run.
    pub async fn call(self, call: Call) -> Result<Outcome, CallError> {
        let masters = crate::minion::masters(&self.opts, &self.raw).await?;
        let mut settings = Settings::new(&self.opts, &masters)?;
        let (grains, _) = facts::grains_soon(&self.opts, &self.raw).await;
        settings.complete(&self.opts, |_| false, &grains);
        let grains = Arc::new(grains);
        let access = Access::open(self.opts.clone(), settings, &grains, self.sources_say_unsigned)?;
        let link = connect(&access).await?;
        // As in the daemon: the host that took us, not the list it was chosen from.
        let address = access.settings.masters.get(link.master());
        let mut grains = (*grains).clone();
        grains.insert("master", address.map_or("", |a| a.host()));
        let seen = Facts { opts: self.raw.clone(), grains: Arc::new(grains), ..Facts::default() };
        let load = pillar_load(&seen, None, None, None);
        let timeout = access.settings.request_timeout;
        let pillar = match link.pillar(load, timeout).await {
            Ok(pillar) => pillar,
            Err(error) => {
                let text = format!("no pillar from {}: {error}", link.name());
                return Err(CallError::NoMaster(text));
            }
        };
        let remote = Remote { link: link.clone(), runtime: Handle::current(), timeout };
        let host = CallHost::new(self.opts, self.raw, self.emit, Some(remote));
        drop(host.grains.set(seen.grains));
        drop(host.pillar.set(Arc::new(pillar)));
        let host = Arc::new(host);
        let calling = call.clone();
        let work = move || run(&host, calling);
        let outcome = tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| jobs::fault());
        report(&access, &link, &call, &outcome).await;
        Ok(outcome)
    }
}

/// A host without a master, for the few things that are called before there is one.
pub(crate) fn masterless(opts: MinionOptions, raw: Arc<Map>) -> Arc<dyn Host> {
    Arc::new(CallHost::new(opts, raw, None, None))
}

/// How much earlier than the next master one is asked.
const HEAD_START: Duration = Duration::from_millis(500);

/// Asks the masters in their order, each beside those before it that have not answered yet, for as
/// long as one of them may accept our key.
async fn connect(access: &Arc<Access>) -> Result<Arc<Link>, CallError> {
    if access.settings.masters.is_empty() {
        let text = "no master is used here (master_type: disable); call with --local";
        return Err(CallError::NoMaster(text.to_owned()));
    }
    loop {
        let (mut pending, mut last) = (false, String::new());
        let mut tries: JoinSet<(usize, Result<Arc<Link>, NotSignedIn>)> = JoinSet::new();
        let mut waiting = 0..access.settings.masters.len();
        loop {
            if let Some(master) = waiting.next() {
                tries.spawn(sign_in(access.clone(), master));
            }
            let more = !waiting.is_empty();
            tokio::select! {
                done = tries.join_next() => match done {
                    Some(Ok((_, Ok(link)))) => {
                        link.put_to_use();
                        return Ok(link);
                    }
                    Some(Ok((master, Err(error)))) => {
                        let name = access.master_name(master);
                        pending |= error.verdict() == Verdict::Soft(Soft::Pending);
                        last = format!("Unable to sign_in to master {name}: {error}");
                        log::error!("{last}");
                    }
                    Some(Err(_)) => {}
                    None if more => {}
                    None => break,
                },
                () = tokio::time::sleep(HEAD_START), if more => {}
            }
        }
        if !pending {
            return Err(CallError::NoMaster(last));
        }
        let wait = access.settings.acceptance_wait;
        log::error!("Waiting for the key to be accepted; next try in {} s", wait.as_secs());
        tokio::time::sleep(wait).await;
    }
}

async fn sign_in(access: Arc<Access>, master: usize) -> (usize, Result<Arc<Link>, NotSignedIn>) {
    let requester = access.requester(master);
    let signed_in = access.sign_in(master, &requester, Purpose::Use).await;
    let link = signed_in.map(|credentials| {
        Arc::new(Link::new(access, master, requester, &credentials, Box::new(|_| {})))
    });
    (master, link)
}

/// Tells the master what was called here, as Salt does. Unlike in Salt the job id is made here, so
/// that a return sent twice is kept once.
async fn report(access: &Arc<Access>, link: &Arc<Link>, call: &Call, outcome: &Outcome) {
    let mut load = Map::from([
        ("cmd", Value::from("_return")),
        ("id", Value::from(access.settings.id.as_str())),
        ("success", Value::Bool(outcome.success)),
        ("return", outcome.value.clone()),
        ("retcode", Value::Int(outcome.retcode)),
        ("jid", Value::from(Jid::at(SystemTime::now()).as_str())),
        ("fun", Value::from(call.fun.as_str())),
        ("fun_args", Value::List(call.args.clone())),
    ]);
    if let Some(out) = &outcome.out {
        load.insert("out", out.as_str());
    }
    load.insert("_stamp", stamp(SystemTime::now()));
    if !returns::deliver_alone(access, link, load).await {
        let pull = bus_paths(&access.opts, &access.settings).pull;
        let tell =
            move || blocking::push(&pull, returns::LEFT, Map::new(), Framing::Bare, PUSH_TIMEOUT);
        // Without a daemon it waits for the next start of one.
        if !matches!(tokio::task::spawn_blocking(tell).await, Ok(Ok(()))) {
            log::info!("No minion daemon runs here to take the return over");
        }
    }
}

fn run(host: &Arc<CallHost>, mut call: Call) -> Outcome {
    let jid = call.jid.take().unwrap_or_else(|| Jid::at(SystemTime::now()));
    let load = Map::from([
        ("fun", Value::from(call.fun.as_str())),
        ("arg", Value::List(call.args.clone())),
        ("tgt", host.raw.get("id").cloned().unwrap_or_default()),
        ("ret", Value::from("")),
    ]);
    let running = host.jobs.start(&jid, &load);
    if let Err(error) = &running {
        log::debug!("The call is not listed for other programs: {error}");
    }
    call.jid = Some(jid);
    let as_host: Arc<dyn Host> = host.clone();
    Registry::standard().run(&call, &as_host)
}

struct Remote {
    link: Arc<Link>,
    runtime: Handle,
    timeout: Duration,
}

/// What modules see of `salt-call`.
struct CallHost {
    opts: MinionOptions,
    raw: Arc<Map>,
    grains: OnceLock<Arc<Map>>,
    pillar: OnceLock<Arc<Map>>,
    jobs: JobTable,
    emit: Option<Emit>,
    remote: Option<Remote>,
}

impl CallHost {
    fn new(opts: MinionOptions, raw: Arc<Map>, emit: Option<Emit>, remote: Option<Remote>) -> Self {
        CallHost {
            jobs: JobTable::new(&opts.cachedir, false),
            opts,
            raw,
            grains: OnceLock::new(),
            pillar: OnceLock::new(),
            emit,
            remote,
        }
    }

    fn facts(&self) -> Facts {
        let (opts, grains) = (self.raw.clone(), self.grains());
        Facts { opts, grains, ..Facts::default() }
    }

    /// The bus of the daemon on this machine; (reading end, writing end).
    fn bus(&self) -> Option<(PathBuf, PathBuf)> {
        let settings = Settings::new(&self.opts, &self.opts.master.items).ok()?;
        let paths = bus_paths(&self.opts, &settings);
        Some((paths.publish, paths.pull))
    }
}

impl Host for CallHost {
    fn opts(&self) -> Arc<Map> {
        self.raw.clone()
    }

    fn grains(&self) -> Arc<Map> {
        self.grains.get_or_init(|| Arc::new(facts::grains(&self.opts, &self.raw))).clone()
    }

    fn pillar(&self) -> Arc<Map> {
        let compile = || Arc::new(self.compile_pillar(None, None, None).unwrap_or_default());
        self.pillar.get_or_init(compile).clone()
    }

    fn compile_pillar(
        &self,
        saltenv: Option<&str>,
        pillarenv: Option<&str>,
        overrides: Option<&Map>,
    ) -> Result<Map, HostError> {
        let Some(remote) = &self.remote else {
            let grains = self.grains();
            let (opts, raw) = (&self.opts, &self.raw);
            return Ok(facts::local_pillar(opts, raw, &grains, saltenv, pillarenv, overrides));
        };
        let load = pillar_load(&self.facts(), saltenv, pillarenv, overrides);
        let (link, timeout) = (remote.link.clone(), remote.timeout);
        let work = async move { link.pillar(load, timeout).await };
        wait_for(&remote.runtime, work)?.map_err(host_error)
    }

    fn request(&self, load: Map, timeout: Option<Duration>) -> Result<Value, HostError> {
        let Some(remote) = &self.remote else {
            return Registry::standard().answer_locally(&load, &self.raw);
        };
        let (link, timeout) = (remote.link.clone(), timeout.unwrap_or(remote.timeout));
        let work = async move { link.request(load, timeout).await };
        wait_for(&remote.runtime, work)?.map_err(host_error)
    }

    fn fire_event(&self, tag: &str, data: Map) -> bool {
        let Some((_, pull)) = self.bus() else { return false };
        blocking::push(&pull, tag, data, Framing::Bare, PUSH_TIMEOUT).is_ok()
    }

    fn events(&self) -> Result<Box<dyn EventStream>, HostError> {
        let paths = self.bus();
        let none = || HostError::Failed("the id of this minion is not usable".into());
        open_bus(&paths.ok_or_else(none)?.0)
    }

    fn emit(&self, line: &str) {
        match &self.emit {
            Some(emit) => emit(line),
            None => log::debug!("{line}"),
        }
    }

    fn jobs(&self) -> &JobTable {
        &self.jobs
    }

    fn refresh(&self, what: Refresh, _wait: bool) -> bool {
        // The daemon on this machine renews what it holds; here everything is fresh.
        let tag = match what {
            Refresh::Grains => "grains_refresh",
            Refresh::Pillar => "pillar_refresh",
            Refresh::Modules => "module_refresh",
            Refresh::Mine => return true,
        };
        self.fire_event(tag, Map::new())
    }

    fn master(&self) -> Option<String> {
        self.remote.as_ref().map(|remote| remote.link.name().to_owned())
    }

    fn is_local(&self) -> bool {
        self.remote.is_none()
    }

    fn failover(&self) -> Map {
        view::read(&self.opts.cachedir, &self.opts.id)
    }

    fn switch(&self, to: Option<&str>, within: Duration, drain: bool) -> Result<Map, HostError> {
        view::ask(self, to, within, drain)
    }

    fn ping(&self, master: &str) -> bool {
        let Ok(settings) = Settings::new(&self.opts, &self.opts.master.items) else { return false };
        let Some(work) = pinged(&settings, &self.opts, master) else { return false };
        if let Some(remote) = &self.remote {
            return wait_for(&remote.runtime, work).unwrap_or(false);
        }
        // `--local` has no runtime; this one lives for the question.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.is_ok_and(|runtime| runtime.block_on(work))
    }
}
