//! What a swarm prints: a live line, JSON, the summary at the end.

use std::fs;
use std::io::{IsTerminal, Write};
use std::time::Instant;

use saltern_swarm::Swarm;
use saltern_value::{Map, Value, json};

use super::Args;
use super::publisher::Publisher;
use crate::exit::Failure;

/// What there is to tell of.
pub(super) struct Told<'a> {
    pub(super) swarm: &'a Swarm,
    pub(super) publisher: Option<&'a Publisher>,
    pub(super) began: Instant,
    /// Memory of the program before the first minion.
    pub(super) before_kib: u64,
}

/// Tells how it stands.
pub(super) fn tell(args: &Args, event: &str, told: &Told<'_>) -> Result<(), Failure> {
    told.swarm.flush();
    if args.json {
        return print(&line(event, told));
    }
    let live = std::io::stdout().is_terminal();
    let text = saying(&told.swarm.shown());
    let mut out = std::io::stdout().lock();
    let written = match live {
        true => write!(out, "\r\x1b[K{text}").and_then(|()| out.flush()),
        false => writeln!(out, "{text}"),
    };
    written.map_err(Failure::from)
}

fn line(event: &str, told: &Told<'_>) -> Map {
    let mut map = Map::from([("event", Value::from(event))]);
    for (key, value) in told.swarm.shown().iter() {
        if let Some(key) = key.as_str() {
            map.insert(key, value.clone());
        }
    }
    let pss = pss_kib();
    let minions = map.get("minions").and_then(Value::as_int).unwrap_or(1).max(1);
    // What the program takes without any minion is not theirs.
    let each = pss.map_or(Value::Nil, |kib| {
        let theirs = kib.saturating_sub(told.before_kib);
        Value::Int(i64::try_from(theirs).unwrap_or(0) * 1024 / minions)
    });
    let memory = [("pss_kib", pss.map_or(Value::Nil, Value::from)), ("per_minion_bytes", each)];
    map.insert("memory", Value::from_iter(memory));
    map.insert("cpu_seconds", cpu_seconds());
    if let Some(publisher) = told.publisher {
        map.insert("published", publisher.shown());
    }
    map
}

fn print(map: &Map) -> Result<(), Failure> {
    crate::printer::line(&json::to_string(&Value::Map(map.clone()), None))?;
    Ok(())
}

/// One line for people.
fn saying(shown: &Map) -> String {
    let number = |name: &str| shown.get(name).and_then(Value::as_int).unwrap_or(0);
    let time = |name: &str, share: &str| {
        let ms = shown.get("latency_ms").and_then(|all| all.get(name)?.get(share)?.as_f64());
        ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"))
    };
    let places = shown.get("masters").and_then(Value::as_map);
    let places: Vec<String> = places
        .into_iter()
        .flat_map(Map::iter)
        .filter_map(|(name, on)| Some(format!("{} {}", name.as_str()?, on.as_int()?)))
        .collect();
    format!(
        "{} of {} connected ({}), {} signing in, {} pending, {} lost; {} jobs, {} answered, {} \
         retries; p50 {}, p99 {}",
        number("connected"),
        number("minions"),
        places.join(", "),
        number("signing_in"),
        number("pending"),
        number("lost"),
        number("jobs"),
        number("answered"),
        number("retries"),
        time("answer", "p50"),
        time("answer", "p99"),
    )
}

/// Tells how it was.
pub(super) fn finish(args: &Args, told: &Told<'_>) -> Result<(), Failure> {
    let summary = line("end", told);
    if let Some(path) = &args.report {
        let mut text = json::to_string(&Value::Map(summary.clone()), Some(2));
        text.push('\n');
        saltern_base::atomic_file::write(path, text.as_bytes(), 0o644)
            .map_err(|e| Failure::generic(format!("--report: {}: {e}", path.display())))?;
    }
    if args.json {
        return print(&summary);
    }
    let errors = summary.get("errors").and_then(Value::as_map);
    let mut out = std::io::stdout().lock();
    let mut lines = vec![
        String::new(),
        saying(&summary),
        format!("after {:.1} s", told.began.elapsed().as_secs_f64()),
    ];
    for (what, count) in errors.into_iter().flat_map(Map::iter) {
        let (what, count) = (what.as_str().unwrap_or_default(), count.as_int().unwrap_or(0));
        lines.push(format!("{count:>9} x {what}"));
    }
    writeln!(out, "{}", lines.join("\n")).map_err(Failure::from)
}

/// Proportional memory of this process.
pub(super) fn pss_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Of this process, all threads.
fn cpu_seconds() -> Value {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    #[allow(clippy::cast_precision_loss)]
    let each = rustix::param::clock_ticks_per_second() as f64;
    Value::Float(ticks / each)
}
