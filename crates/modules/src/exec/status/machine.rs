//! Counters of the kernel.

use std::fs;
use std::time::{Duration, SystemTime};

use saltern_base::time;
use saltern_target::Glob;
use saltern_value::{Map, Value};

use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|_| Error::exec(format!("File {path} was not found.")))
}

/// A counter as number, or as text when it is none.
fn number(text: &str) -> Value {
    if let Ok(int) = text.parse::<i128>() {
        return Value::from(int);
    }
    text.parse::<f64>().map_or_else(|_| Value::from(text), Value::Float)
}

pub(super) fn uptime(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let text = read("/proc/uptime")?;
    let seconds: f64 =
        text.split_whitespace().next().and_then(|s| s.parse().ok()).unwrap_or_default();
    let seconds = seconds as u64;
    let now = SystemTime::now();
    let since = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    Ok(Value::Map(Map::from([
        ("seconds", Value::from(seconds)),
        ("since_iso", Value::from(time::stamp(since))),
        ("since_t", Value::from(time::epoch(since))),
        ("days", Value::from(days)),
        ("time", Value::from(format!("{}:{}", rest / 3600, rest % 3600 / 60))),
        ("users", Value::from(users())),
    ])))
}

/// How many are logged in: records of type 7 in utmp, each 384 bytes, the type in front.
fn users() -> usize {
    let bytes = fs::read("/run/utmp").or_else(|_| fs::read("/var/run/utmp")).unwrap_or_default();
    bytes.chunks_exact(384).filter(|r| r.starts_with(&[7, 0])).count()
}

pub(super) fn loadavg(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    // Fixed point numbers with 16 bits behind the point; /proc/loadavg has only two digits.
    let loads = rustix::system::sysinfo().loads.map(|load| load as f64 / 65_536.0);
    Ok(["1-min", "5-min", "15-min"].into_iter().zip(loads).collect())
}

pub(super) fn meminfo(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let text = read("/proc/meminfo")?;
    let mut found = Map::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_whitespace();
        let mut entry = Map::from([("value", words.next().unwrap_or_default())]);
        if let Some(unit) = words.next() {
            entry.insert("unit", unit);
        }
        found.insert(name, entry);
    }
    Ok(Value::Map(found))
}

pub(super) fn cpuinfo(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let text = read("/proc/cpuinfo")?;
    let mut found = Map::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.trim(), value.trim());
        if name == "flags" {
            let flags: Vec<Value> = value.split_whitespace().map(Value::from).collect();
            found.insert(name, flags);
        } else {
            // Python splits at every colon and takes the second part.
            found.insert(name, value.split(':').next().unwrap_or_default().trim());
        }
    }
    Ok(Value::Map(found))
}

fn totals(words: &[&str], list: &str) -> Value {
    let rest = words.get(2..).unwrap_or_default();
    Value::Map(Map::from([
        ("total", words.get(1).map_or(Value::Nil, |w| number(w))),
        (list, Value::List(rest.iter().map(|w| number(w)).collect())),
    ]))
}

pub(super) fn cpustats(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let text = read("/proc/stat")?;
    let mut found = Map::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(name) = words.first().copied() else { continue };
        let value = match name {
            "cpu" => [
                ("idle", 4),
                ("iowait", 5),
                ("irq", 6),
                ("nice", 2),
                ("softirq", 7),
                ("steal", 8),
                ("system", 3),
                ("user", 1),
            ]
            .into_iter()
            .map(|(name, at)| (name, words.get(at).map_or(Value::Nil, |w| number(w))))
            .collect(),
            "intr" => totals(&words, "irqs"),
            "softirq" => totals(&words, "softirqs"),
            _ => words.get(1).map_or(Value::Nil, |w| number(w)),
        };
        found.insert(name, value);
    }
    Ok(Value::Map(found))
}

pub(super) fn diskstats(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    const NAMES: [&str; 14] = [
        "major",
        "minor",
        "device",
        "reads_issued",
        "reads_merged",
        "sectors_read",
        "ms_spent_reading",
        "writes_completed",
        "writes_merged",
        "sectors_written",
        "ms_spent_writing",
        "io_in_progress",
        "ms_spent_in_io",
        "weighted_ms_spent_in_io",
    ];
    let text = read("/proc/diskstats")?;
    let rows = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let device = *words.get(2)?;
        let row: Map = NAMES.into_iter().zip(words.iter().map(|w| number(w))).collect();
        Some((device.to_owned(), Value::Map(row)))
    });
    Ok(rows.collect())
}

pub(super) fn vmstats(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let text = read("/proc/vmstat")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name, number(value)))
        .collect())
}

pub(super) fn nproc(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let count = std::thread::available_parallelism()?;
    Ok(Value::from(count.get()))
}

pub(super) fn version(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(Value::from(read("/proc/version")?.trim()))
}

pub(super) fn netstats(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let mut found = Map::new();
    let text = read("/proc/net/netstat")?;
    let lines: Vec<&str> = text.lines().collect();
    // A line of names, then one of values, both under the name of the protocol.
    for pair in lines.chunks_exact(2) {
        let [names, values] = pair else { continue };
        let Some((protocol, names)) = names.split_once(':') else { continue };
        let values = values.split_once(':').map_or("", |(_, v)| v);
        let row: Map =
            names.split_whitespace().zip(values.split_whitespace().map(number)).collect();
        found.insert(protocol, row);
    }
    Ok(Value::Map(found))
}

pub(super) fn netdev(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    const NAMES: [&str; 16] = [
        "rx_bytes",
        "rx_packets",
        "rx_errs",
        "rx_drop",
        "rx_fifo",
        "rx_frame",
        "rx_compressed",
        "rx_multicast",
        "tx_bytes",
        "tx_packets",
        "tx_errs",
        "tx_drop",
        "tx_fifo",
        "tx_colls",
        "tx_carrier",
        "tx_compressed",
    ];
    let text = read("/proc/net/dev")?;
    let rows = text.lines().skip(2).filter_map(|line| {
        let (device, counters) = line.split_once(':')?;
        let device = device.trim();
        let mut row = Map::from([("iface", device)]);
        row.extend(NAMES.into_iter().zip(counters.split_whitespace().map(number)));
        Some((device.to_owned(), Value::Map(row)))
    });
    Ok(rows.collect())
}

/// A mount as `/proc/mounts` has it: where, and of which type.
fn mounts() -> Result<Vec<(String, String)>, Error> {
    let text = read("/proc/mounts")?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let place = words.next()?.replace("\\040", " ").replace("\\011", "\t");
            Some((place, words.next()?.to_owned()))
        })
        .collect())
}

pub(super) fn diskusage(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut paths: Vec<String> = Vec::new();
    let mut types: Vec<Glob> = Vec::new();
    for arg in args.varargs.iter().map(to_text) {
        if arg.starts_with('/') {
            paths.push(arg);
        } else {
            types.push(Glob::new(&arg));
        }
    }
    if args.varargs.is_empty() || !types.is_empty() {
        let fits = |fs_type: &str| types.is_empty() || types.iter().any(|t| t.matches(fs_type));
        paths.extend(mounts()?.into_iter().filter(|(_, kind)| fits(kind)).map(|(at, _)| at));
    }
    let mut found = Map::new();
    for path in paths {
        // A mount may be out of reach (a dead network file system's says so with an error).
        let Ok(stat) = rustix::fs::statvfs(path.as_str()) else { continue };
        let sizes = Map::from([
            ("available", Value::from(stat.f_bavail.saturating_mul(stat.f_frsize))),
            ("total", Value::from(stat.f_blocks.saturating_mul(stat.f_frsize))),
        ]);
        found.insert(path, sizes);
    }
    Ok(Value::Map(found))
}
