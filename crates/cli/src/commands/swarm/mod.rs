//! `saltern swarm`: a fleet of simulated minions, for capacity planning.

mod options;
mod publisher;
mod show;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use saltern_crypto::PrivateKey;
use saltern_swarm::{Distribution, Plan, Swarm, seconds};

use self::publisher::Publisher;
use self::show::{Told, pss_kib};
use crate::args::Common;
use crate::daemon;
use crate::exit::{self, Failure};

/// How long the end may take.
const END: Duration = Duration::from_millis(1500);

/// A fleet of simulated minions, for capacity planning: real sockets, keys and failover, made-up answers
#[derive(clap::Args, Debug)]
#[command(allow_negative_numbers = true)]
pub(crate) struct Args {
    /// The masters, in the order in which they are tried; PORT is that of requests
    #[arg(long, value_name = "HOST[:PORT],...", value_delimiter = ',', required = true)]
    masters: Vec<String>,
    /// Port of publications, instead of what the master says
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    publish_port: Option<u16>,
    /// How many minions
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    count: usize,
    // The help must not have the bare pattern: clap takes it for the end of a line.
    /// Their ids: with the number where the default has it, or {n:05} for zeros before it
    #[arg(long, value_name = "PATTERN", default_value = "swarm-{n}")]
    id: String,
    /// Number of the first minion, so that several processes can share a fleet
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: usize,
    /// failover: one master at a time; str: all at the same time
    #[arg(long, value_parser = ["failover", "str"], default_value = "failover")]
    master_type: String,
    /// Each minion tries the masters in an order of its own
    #[arg(long)]
    random_master: bool,
    /// master_sign.pub: the masters' keys must be signed with it
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
    /// As the minions' option of that name, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    master_alive_interval: Option<Duration>,
    /// Do not sign in at the next master beforehand
    #[arg(long)]
    no_standby: bool,
    /// Time between two heartbeats on each connection; 0 for none
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    heartbeat: Option<Duration>,
    /// Minions started each second; 0 for all at once
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = options::rate, conflicts_with = "ramp")]
    rate: f64,
    /// Start them evenly over this time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    ramp: Option<Duration>,
    /// Threads; by default as many as there are processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// A pool of keys that minions share, or one for each minion
    #[arg(long, value_parser = ["shared", "distinct"], default_value = "shared")]
    keys: String,
    /// Keys in the pool
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    key_pool: u16,
    /// Directory in which the keys are kept for the next time
    #[arg(long, value_name = "DIR")]
    key_dir: Option<PathBuf>,
    /// Bits of a key
    #[arg(long, value_name = "BITS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2048..=8192))]
    key_size: u32,
    /// YAML files with the grains of the minions, dealt out in turn; {id} and the patterns of --id ({n:05}, {n%10}) are replaced
    #[arg(long, value_name = "FILE,...", value_delimiter = ',')]
    grains: Vec<PathBuf>,
    /// Time an answer takes: 10ms, uniform:1ms..50ms, normal:20ms..5ms, exp:20ms
    #[arg(long, value_name = "DIST", default_value = "0", value_parser = Distribution::of_times)]
    latency: Distribution,
    /// Bytes of an answer that is not test.ping's or its kin's: 500, uniform:1kB..1MB, ...
    #[arg(long, value_name = "DIST", default_value = "100", value_parser = Distribution::of_sizes)]
    size: Distribution,
    /// Share of minions whose jobs fail
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = options::percent)]
    failing: f64,
    /// Share of minions that answer late
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = options::percent)]
    slow: f64,
    /// How late those answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    slow_by: Duration,
    /// Share of minions that never answer
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = options::percent)]
    silent: f64,
    /// Share of minions whose connections are cut now and then
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = options::percent)]
    flapping: f64,
    /// How often those are cut
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    flap_every: Duration,
    /// Once all are connected each minion sends so many returns of --size bytes of itself
    #[arg(long, value_name = "N", default_value_t = 0)]
    flood: usize,
    /// Sign in and answer only: do not fetch the pillar nor fire the start event
    #[arg(long)]
    bare: bool,
    /// Publish this function all the time, through the master on this machine; quotes as in a shell
    #[arg(long, value_name = "'FUNCTION ARGS'", group = "jobs")]
    publish: Option<String>,
    /// Whom --publish means
    #[arg(long, value_name = "GLOB", default_value = "*", requires = "publish")]
    target: String,
    /// Time between two jobs of --publish, or of --mix where it does not say
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, requires = "jobs")]
    every: Duration,
    /// YAML list of jobs to publish: fun, arg, kwarg, tgt, tgt_type, every
    #[arg(long, value_name = "FILE", group = "jobs")]
    mix: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Of all that is left to chance
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write a line for each job taken (t JID ID) and each return acknowledged (a JID ID)
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// End after this time; 0 = when told to
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    run: Duration,
    /// End as soon as all are connected, or all but silent ones have answered a job
    #[arg(long, value_parser = ["connected", "answered"])]
    until: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Time between two lines of progress
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    progress: Duration,
    /// Write the summary there, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<i32, Failure> {
    let plan = options::plan(args)?;
    options::check_files(&plan)?;
    args.report.as_deref().map_or(Ok(()), options::check_report)?;
    let publisher = Publisher::of(args)?;
    options::resolve(&plan)?;
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        usize::from,
    );
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let done = runtime.block_on(swarm(args, plan, publisher, threads));
    runtime.shutdown_timeout(END);
    done
}

async fn swarm(
    args: &Args,
    plan: Plan,
    publisher: Option<Publisher>,
    threads: usize,
) -> Result<i32, Failure> {
    let mut signals = daemon::Signals::listen()?;
    let numbers = plan.key_numbers((args.keys == "shared").then_some(usize::from(args.key_pool)));
    let swarm = Swarm::new(plan).map_err(Failure::usage)?;
    let keys = tokio::select! {
        keys = keys(args, numbers, threads) => Some(keys?),
        _ = signals.ended() => None,
    };
    let mut watch = Watch {
        args,
        told: Told { swarm, publisher, began: Instant::now(), before_kib: pss_kib().unwrap_or(0) },
    };
    let met = match keys {
        Some(keys) => {
            watch.told.swarm.start(&keys).map_err(Failure::generic)?;
            drop(keys);
            watch.until_the_end(&mut signals).await?
        }
        None => false,
    };
    show::finish(args, &watch.told)?;
    Ok(if args.until.is_some() && !met { exit::GENERIC } else { exit::OK })
}

/// Tells it to stop making keys when nobody waits for them any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn keys(
    args: &Args,
    numbers: Vec<usize>,
    threads: usize,
) -> Result<Vec<PrivateKey>, Failure> {
    let stop = Stop(Arc::default());
    let (stopped, bits, dir) = (stop.0.clone(), args.key_size, args.key_dir.clone());
    let live = std::io::stderr().is_terminal();
    let made = tokio::task::spawn_blocking(move || {
        let count = numbers.len();
        let told = |ready: usize| {
            if live && (ready.is_multiple_of(10) || ready == count) {
                // A terminal that is gone shows nothing.
                let _ = write!(std::io::stderr(), "\rkeys: {ready} of {count} ");
            }
            !stopped.load(Ordering::Relaxed)
        };
        saltern_swarm::pool(&numbers, bits, dir.as_deref(), threads, told)
    });
    let keys = made.await.map_err(|e| Failure::generic(format!("no key can be made: {e}")))?;
    if live {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    keys.map_err(Failure::generic)
}

/// A swarm under way, and what is told of it.
struct Watch<'a> {
    args: &'a Args,
    told: Told,
}

impl Watch<'_> {
    /// Tells how it goes until it ends; whether it came to what `--until` wants.
    async fn until_the_end(&mut self, signals: &mut daemon::Signals) -> Result<bool, Failure> {
        let args = self.args;
        let mut tick = tokio::time::interval(args.progress.max(Duration::from_millis(100)));
        // Being connected is noticed sooner than progress is told.
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let end = tokio::time::sleep(match args.run.is_zero() {
            true => Duration::from_secs(365 * 86_400),
            false => args.run,
        });
        tokio::pin!(end);
        let mut connected = false;
        loop {
            tokio::select! {
                _ = signals.ended() => return Ok(false),
                () = &mut end => return Ok(false),
                _ = tick.tick() => show::tell(args, "progress", &self.told)?,
                _ = look.tick() => {
                    if self.look(&mut connected)? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn look(&mut self, connected: &mut bool) -> Result<bool, Failure> {
        let now = self.told.swarm.is_connected();
        if now && !std::mem::replace(connected, now) {
            show::tell(self.args, "connected", &self.told)?;
            if let Some(publisher) = &mut self.told.publisher {
                publisher.begin();
            }
        }
        *connected = now;
        Ok(match self.args.until.as_deref() {
            Some("connected") => now,
            Some(_) => self.told.swarm.has_answered(),
            None => false,
        })
    }
}
