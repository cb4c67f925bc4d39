//! `saltern swarm`: a fleet of simulated minions, for capacity planning.

mod publisher;
mod show;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use saltern_crypto::{PrivateKey, PublicKey};
use saltern_swarm::{Distribution, Place, Plan, Shares, Swarm};
use saltern_value::Value;

use self::publisher::Publisher;
use self::show::{Told, pss_kib};
use crate::args::Common;
use crate::daemon;
use crate::exit::{self, Failure};

/// Descriptors that a swarm needs beside its connections.
const OWN_FILES: u64 = 64;

/// How long the end may take.
const END: Duration = Duration::from_millis(1500);

/// A fleet of simulated minions, for capacity planning: real sockets, keys and failover, made-up answers
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The masters, in the order in which they are tried; PORT is that of requests
    #[arg(long, value_name = "HOST[:PORT],...", value_delimiter = ',', required = true)]
    masters: Vec<String>,
    /// Port of publications, instead of what the master says
    #[arg(long, value_name = "PORT")]
    publish_port: Option<u16>,
    /// How many minions
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    count: usize,
    /// Their ids; {n} is the number, {n:05} with zeros before it
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
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = positive, conflicts_with = "ramp")]
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
    #[arg(long, value_name = "N", default_value_t = 64)]
    key_pool: usize,
    /// Directory in which the keys are kept for the next time
    #[arg(long, value_name = "DIR")]
    key_dir: Option<PathBuf>,
    /// Bits of a key
    #[arg(long, value_name = "BITS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2048..=8192))]
    key_size: u32,
    /// YAML file with the grains of each minion; {n} and {id} are replaced
    #[arg(long, value_name = "FILE")]
    grains: Option<PathBuf>,
    /// Time an answer takes: 10ms, uniform:1ms..50ms, normal:20ms..5ms, exp:20ms
    #[arg(long, value_name = "DIST", default_value = "0")]
    latency: Distribution,
    /// Bytes of an answer that is not test.ping's or its kin's: 500, uniform:1kB..1MB, ...
    #[arg(long, value_name = "DIST", default_value = "100")]
    size: Distribution,
    /// Share of minions whose jobs fail
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    failing: f64,
    /// Share of minions that answer late
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    slow: f64,
    /// How late those answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    slow_by: Duration,
    /// Share of minions that never answer
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    silent: f64,
    /// Share of minions whose connections are cut now and then
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
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
    /// Publish this function all the time, through the master on this machine
    #[arg(long, value_name = "'FUNCTION ARGS'", conflicts_with = "mix")]
    publish: Option<String>,
    /// Whom --publish means
    #[arg(long, value_name = "GLOB", default_value = "*", requires = "publish")]
    target: String,
    /// Time between two jobs of --publish
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, requires = "publish")]
    every: Duration,
    /// YAML list of jobs to publish: fun, arg, tgt, tgt_type, every
    #[arg(long, value_name = "FILE")]
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
    /// End as soon as all are connected, or have answered a job
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

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    let good = value.is_finite() && (0.0..=1e9).contains(&value);
    good.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1000000000"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(positive(text.trim_end_matches('s'))?).map_err(|e| e.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    let value = positive(text.trim_end_matches('%'))?;
    (value <= 100.0).then_some(value).ok_or_else(|| format!("{text} is more than 100 percent"))
}

pub(crate) fn run(args: &Args) -> Result<i32, Failure> {
    let plan = plan(args)?;
    check_files(&plan)?;
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        usize::from,
    );
    let keys = keys(args, &plan, threads)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let done = runtime.block_on(watch(args, plan, &keys));
    runtime.shutdown_timeout(END);
    done
}

/// What the arguments amount to.
fn plan(args: &Args) -> Result<Plan, Failure> {
    if args.count == 0 {
        return Err(Failure::usage("--count: a swarm has at least one minion"));
    }
    let shares = Shares {
        failing: args.failing,
        slow: args.slow,
        silent: args.silent,
        flapping: args.flapping,
    };
    let all = shares.failing + shares.slow + shares.silent + shares.flapping;
    if all > 100.0 {
        return Err(Failure::usage(format!(
            "--failing, --slow, --silent and --flapping: together {all} percent; at most 100"
        )));
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = args
        .ramp
        .filter(|r| !r.is_zero())
        .map_or(args.rate, |ramp| args.count as f64 / ramp.as_secs_f64());
    if args.count > 1 && !args.id.contains("{n") {
        return Err(Failure::usage(format!(
            "--id: '{}' gives every minion the same id; it needs {{n}}",
            args.id
        )));
    }
    let masters: Result<Vec<Place>, Failure> = args.masters.iter().map(|m| place(m)).collect();
    Ok(Plan {
        masters: masters?,
        publish_port: args.publish_port,
        count: args.count,
        id: args.id.clone(),
        first: args.first,
        hot: args.master_type == "str",
        random_master: args.random_master,
        verify: args.verify.as_ref().map(verification_key).transpose()?,
        alive_interval: args.master_alive_interval.filter(|i| !i.is_zero()),
        heartbeat: args.heartbeat,
        standby: !args.no_standby,
        rate,
        flood: args.flood,
        grains: args.grains.as_ref().map(grains).transpose()?,
        latency: args.latency,
        size: args.size,
        shares,
        slow_by: args.slow_by,
        flap_every: args.flap_every.max(Duration::from_millis(100)),
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..)),
        journal: args.journal.clone(),
        bare: args.bare,
    })
}

fn place(text: &str) -> Result<Place, Failure> {
    let wrong = || Failure::usage(format!("--masters: '{text}' is no HOST or HOST:PORT"));
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without brackets has no port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse::<u16>().map_err(|_| wrong())?)
        }
        _ => (text, 4506),
    };
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    if host.is_empty() || host.contains(char::is_whitespace) || port == 0 {
        return Err(wrong());
    }
    Ok(Place { name: text.to_owned(), requests: format!("{host}:{port}"), host })
}

fn verification_key(path: &PathBuf) -> Result<PublicKey, Failure> {
    let told = |e: &dyn std::fmt::Display| {
        Failure::usage(format!("--verify: {}: {e}", path.display()))
            .hint("it is master_sign.pub of the masters' pki directory")
    };
    let pem = fs::read(path).map_err(|e| told(&e))?;
    PublicKey::from_pem(&pem).map_err(|e| told(&e))
}

fn grains(path: &PathBuf) -> Result<String, Failure> {
    let told = |e: String| Failure::usage(format!("--grains: {}: {e}", path.display()));
    let text = fs::read_to_string(path).map_err(|e| told(e.to_string()))?;
    let tried = text.replace("{n}", "0").replace("{id}", "id");
    match saltern_value::yaml::load(&tried) {
        Ok(Value::Map(_)) => Ok(text),
        Ok(_) => Err(told("it is no mapping".to_owned())),
        Err(error) => Err(told(error.to_string())),
    }
}

/// A swarm that runs out of descriptors would measure that.
fn check_files(plan: &Plan) -> Result<(), Failure> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let Some(hard) = limit.maximum else { return Ok(()) };
    let raised = rustix::process::Rlimit { current: Some(hard), maximum: Some(hard) };
    // What is possible without it is checked below.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let others = plan.masters.len().saturating_sub(1);
    let each = match (plan.hot, plan.standby) {
        (true, _) => 2 * plan.masters.len(),
        (false, true) => 2 + others.min(2),
        (false, false) => 2,
    };
    let needed = (plan.count * each) as u64 + OWN_FILES;
    if needed <= hard {
        return Ok(());
    }
    let fit = hard.saturating_sub(OWN_FILES) / each as u64;
    Err(Failure::usage(format!(
        "--count: {} minions need {needed} open files ({each} each), and this process may have \
         {hard}",
        plan.count
    ))
    .hint(format!(
        "raise the limit (ulimit -n), or share the fleet among processes of {fit} minions each: \
         the second with --first {}",
        plan.first as u64 + fit
    )))
}

fn keys(args: &Args, plan: &Plan, threads: usize) -> Result<Vec<PrivateKey>, Failure> {
    let count = match args.keys.as_str() {
        "distinct" => plan.count,
        _ => args.key_pool.clamp(1, plan.count),
    };
    let live = std::io::stderr().is_terminal();
    let made = |ready: usize| {
        if live && (ready.is_multiple_of(10) || ready == count) {
            // A terminal that is gone shows nothing.
            let _ = write!(std::io::stderr(), "\rkeys: {ready} of {count} ");
        }
    };
    let keys = saltern_swarm::pool(count, args.key_size, args.key_dir.as_deref(), threads, made);
    if live {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    keys.map_err(Failure::generic)
}

/// Runs the swarm and tells of it until it ends.
async fn watch(args: &Args, plan: Plan, keys: &[PrivateKey]) -> Result<i32, Failure> {
    let mut signals = daemon::Signals::listen()?;
    let count = plan.count as u64;
    let mut publisher = Publisher::of(args)?;
    let before_kib = pss_kib().unwrap_or(0);
    let began = Instant::now();
    let swarm = Swarm::start(plan, keys).map_err(Failure::usage)?;
    let mut tick = tokio::time::interval(args.progress.max(Duration::from_millis(100)));
    // Being connected is noticed sooner than progress is told.
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let end = tokio::time::sleep(match args.run.is_zero() {
        true => Duration::from_secs(365 * 86_400),
        false => args.run,
    });
    tokio::pin!(end);
    let (mut connected, mut met) = (false, false);
    while !met {
        let told = Told { swarm: &swarm, publisher: publisher.as_ref(), began, before_kib };
        tokio::select! {
            _ = signals.ended() => break,
            () = &mut end => break,
            _ = tick.tick() => show::tell(args, "progress", &told)?,
            _ = look.tick() => {
                let now = swarm.is_connected();
                if now && !connected {
                    show::tell(args, "connected", &told)?;
                    if let Some(publisher) = &mut publisher {
                        publisher.begin();
                    }
                }
                connected = now;
                met = match args.until.as_deref() {
                    Some("connected") => connected,
                    Some(_) => swarm.answered() >= count,
                    None => false,
                };
            }
        }
    }
    swarm.flush();
    show::finish(args, &Told { swarm: &swarm, publisher: publisher.as_ref(), began, before_kib })?;
    Ok(if args.until.is_some() && !met { exit::GENERIC } else { exit::OK })
}
