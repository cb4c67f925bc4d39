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
pub(super) struct Told {
    pub(super) swarm: Swarm,
    pub(super) publisher: Option<Publisher>,
    pub(super) began: Instant,
    /// Memory of the program before the first minion.
    pub(super) before_kib: u64,
}

/// Tells how it stands.
pub(super) fn tell(args: &Args, event: &str, told: &Told) -> Result<(), Failure> {
    told.swarm.flush();
    if args.json {
        return print(&line(event, told));
    }
    let live = std::io::stdout().is_terminal();
    let text = saying(&told.swarm.shown(), told.publisher.as_ref());
    let mut out = std::io::stdout().lock();
    let written = match live {
        true => write!(out, "\r\x1b[K{text}").and_then(|()| out.flush()),
        false => writeln!(out, "{text}"),
    };
    written.map_err(Failure::from)
}

fn line(event: &str, told: &Told) -> Map {
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
    if let Some(publisher) = &told.publisher {
        map.insert("published", publisher.shown());
    }
    map
}

fn print(map: &Map) -> Result<(), Failure> {
    crate::printer::line(&json::to_string(&Value::Map(map.clone()), None))?;
    Ok(())
}

fn number(shown: &Map, name: &str) -> i64 {
    shown.get(name).and_then(Value::as_int).unwrap_or(0)
}

fn time(shown: &Map, name: &str, share: &str) -> String {
    let ms = shown.get("latency_ms").and_then(|all| all.get(name)?.get(share)?.as_f64());
    ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"))
}

/// One line for people.
fn saying(shown: &Map, publisher: Option<&Publisher>) -> String {
    let number = |name: &str| number(shown, name);
    let places = shown.get("masters").and_then(Value::as_map);
    let places: Vec<String> = places
        .into_iter()
        .flat_map(Map::iter)
        .filter_map(|(name, on)| Some(format!("{} {}", name.as_str()?, on.as_int()?)))
        .collect();
    let mut text = format!(
        "{} of {} connected ({}), {} signing in, {} pending, {} lost; ",
        number("connected"),
        number("wanted"),
        places.join(", "),
        number("signing_in"),
        number("pending"),
        number("lost"),
    );
    if number("jobs") == 0 {
        let (p50, p99) = (time(shown, "sign_in", "p50"), time(shown, "sign_in", "p99"));
        text.push_str(&format!("sign-in p50 {p50}, p99 {p99}"));
    } else {
        let (p50, p99) = (time(shown, "answer", "p50"), time(shown, "answer", "p99"));
        let (jobs, answered, retries) = (number("jobs"), number("answered"), number("retries"));
        text.push_str(&format!(
            "{jobs} jobs, {answered} answered, {retries} retries; p50 {p50}, p99 {p99}"
        ));
    }
    for (name, told) in [("unanswered", "left unanswered"), ("failed", "returns given up")] {
        if number(name) > 0 {
            text.push_str(&format!("; {} {told}", number(name)));
        }
    }
    if let Some(publisher) = publisher {
        let (jobs, nobody, errors) = publisher.counts();
        let errors: u64 = errors.iter().map(|(_, count)| count).sum();
        text.push_str(&format!("; {jobs} published, {nobody} meant nobody, {errors} failed"));
    }
    text
}

/// Tells how it was.
pub(super) fn finish(args: &Args, told: &Told) -> Result<(), Failure> {
    told.swarm.flush();
    let summary = line("end", told);
    match args.json {
        true => print(&summary)?,
        false => {
            let lines = closing(&summary, told);
            writeln!(std::io::stdout().lock(), "{}", lines.join("\n")).map_err(Failure::from)?;
        }
    }
    let Some(path) = &args.report else { return Ok(()) };
    let mut text = json::to_string(&Value::Map(summary), Some(2));
    text.push('\n');
    saltern_base::atomic_file::write(path, text.as_bytes(), 0o644)
        .map_err(|e| Failure::generic(format!("--report: {}: {e}", path.display())))
}

/// The summary for people.
fn closing(summary: &Map, told: &Told) -> Vec<String> {
    let after = summary.get("connected_after").and_then(Value::as_f64);
    let after = after.map_or("never all connected".to_owned(), |seconds| {
        format!("all connected for the first time after {seconds:.1} s")
    });
    let cpu = summary.get("cpu_seconds").and_then(Value::as_f64).unwrap_or_default();
    let mut lines = vec![
        String::new(),
        saying(summary, told.publisher.as_ref()),
        format!("ended after {:.1} s, {after}", told.began.elapsed().as_secs_f64()),
        format!("this process: {}, {cpu:.1} s of CPU time", memory(summary)),
    ];
    for (name, said) in [("sign_in", "sign-ins"), ("answer", "answers"), ("gap", "gaps")] {
        let [p50, p99, max] = ["p50", "p99", "max"].map(|share| time(summary, name, share));
        lines.push(format!("{said:<9} p50 {p50}, p99 {p99}, max {max}"));
    }
    let errors = summary.get("errors").and_then(Value::as_map);
    for (what, count) in errors.into_iter().flat_map(Map::iter) {
        let (what, count) = (what.as_str().unwrap_or_default(), count.as_int().unwrap_or(0));
        lines.push(format!("{count:>9} x {what}"));
    }
    for (what, count) in told.publisher.iter().flat_map(|publisher| publisher.counts().2) {
        lines.push(format!("{count:>9} x not published: {what}"));
    }
    lines
}

/// A share for each minion says something of many only.
fn memory(summary: &Map) -> String {
    let get = |name: &str| summary.get("memory")?.get(name)?.as_f64();
    let mut text = format!("{:.1} MiB", get("pss_kib").unwrap_or_default() / 1024.0);
    if let Some(each) = get("per_minion_bytes").filter(|_| number(summary, "minions") >= 500) {
        text.push_str(&format!(" ({:.1} kB a minion)", each / 1e3));
    }
    text
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
