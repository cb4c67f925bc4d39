//! What the options of a swarm amount to, checked before anything is started.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use saltern_crypto::PublicKey;
use saltern_swarm::{Place, Plan, Shares, fill};
use saltern_value::Value;

use super::Args;
use crate::exit::Failure;

/// Descriptors that a swarm needs beside its connections.
const OWN_FILES: u64 = 64;

/// As many minions, and as high a number of one, as there may be.
const MOST: usize = 1_000_000_000;

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    let good = value.is_finite() && (0.0..=1e9).contains(&value);
    good.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1000000000"))
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    let digits = text.strip_suffix('%').unwrap_or(text).trim();
    let value: f64 = digits.parse().map_err(|_| format!("'{text}' is no number of percent"))?;
    let good = (0.0..=100.0).contains(&value);
    good.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 100 percent"))
}

/// What the arguments amount to.
pub(super) fn plan(args: &Args) -> Result<Plan, Failure> {
    if args.count == 0 || args.count > MOST {
        return Err(Failure::usage(format!("--count: {} is not between 1 and {MOST}", args.count)));
    }
    if args.first > MOST {
        return Err(Failure::usage(format!("--first: {} is more than {MOST}", args.first)));
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
    if args.count > 1 && fill(&args.id, 0) == fill(&args.id, 1) {
        return Err(Failure::usage(format!(
            "--id: '{}' gives every minion the same id; it needs {{n}}, or {{n:05}} for zeros \
             before the number",
            args.id
        )));
    }
    let masters = places(args)?;
    Ok(Plan {
        masters,
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
        grains: args.grains.iter().map(grains).collect::<Result<_, _>>()?,
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

fn places(args: &Args) -> Result<Vec<Place>, Failure> {
    let mut places: Vec<Place> = Vec::with_capacity(args.masters.len());
    for text in &args.masters {
        let place = place(text.trim())?;
        if places.iter().any(|other| other.requests == place.requests) {
            return Err(Failure::usage(format!("--masters: '{text}' is named twice")));
        }
        places.push(place);
    }
    Ok(places)
}

/// A name that nobody knows is a mistake; a master that is down is not.
pub(super) fn resolve(plan: &Plan) -> Result<(), Failure> {
    for place in &plan.masters {
        let why = match place.requests.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(_)) => continue,
            Ok(None) => "it has no address".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(Failure::usage(format!("--masters: '{}': {why}", place.name))
            .hint("name the masters by HOST[:PORT] as this machine can resolve it"));
    }
    Ok(())
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
    let told = |e: String| {
        Failure::usage(format!("--grains: {}: {e}", path.display()))
            .hint("it is YAML with a mapping, like 'os: Debian'; {n} and {id} are replaced")
    };
    let text = fs::read_to_string(path).map_err(|e| told(e.to_string()))?;
    let tried = fill(&text, 0).replace("{id}", "id");
    match saltern_value::yaml::load(&tried) {
        Ok(Value::Map(_)) => Ok(text),
        Ok(_) => Err(told("it is no mapping".to_owned())),
        Err(error) => Err(told(error.to_string())),
    }
}

/// A swarm that runs out of descriptors would measure that.
pub(super) fn check_files(plan: &Plan) -> Result<(), Failure> {
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

/// A report that cannot be written is told before the run, not after it.
pub(super) fn check_report(path: &Path) -> Result<(), Failure> {
    let opened = fs::File::options().append(true).create(true).open(path);
    opened.map(drop).map_err(|e| Failure::usage(format!("--report: {}: {e}", path.display())))
}
