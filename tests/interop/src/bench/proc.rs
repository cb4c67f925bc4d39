//! What the kernel says of a process and everything below it.

use std::collections::BTreeMap;
use std::fs;

/// Memory of a process tree in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Proportional: what several processes share counts by its share.
    pub pss: f64,
    /// Whole, as if the machine had no other process of the same executable.
    pub rss: f64,
    pub processes: usize,
}

impl Memory {
    /// What counts: the proportional memory of a tree, but a single process (ours) whole, with all
    /// it maps. The swarm runs the same executable, so its `pss` is less than what it would be on
    /// a machine of its own.
    pub fn counted(self) -> f64 {
        if self.processes == 1 { self.rss } else { self.pss }
    }
}

/// The process and its descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if let Some(parent) = stat(pid).and_then(|fields| fields[1].parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = vec![root];
    let mut next = 0;
    while next < all.len() {
        all.extend(children.get(&all[next]).into_iter().flatten());
        next += 1;
    }
    all
}

/// Memory of the tree.
pub fn memory(root: u32) -> Memory {
    let rollup = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let texts: Vec<String> = tree(root).iter().filter_map(rollup).collect();
    let mib = |field: &str| {
        let kib = |text: &String| {
            let line = text.lines().find(|l| l.starts_with(field))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        };
        texts.iter().filter_map(kib).sum::<f64>() / 1024.0
    };
    Memory { pss: mib("Pss:"), rss: mib("Rss:"), processes: texts.len() }
}

/// Proportional memory of the tree in MiB, of a single process whole.
pub fn memory_mib(root: u32) -> f64 {
    memory(root).counted()
}

/// CPU seconds of the tree so far, ended children included, to the hundredth.
pub fn cpu_seconds(root: u32) -> f64 {
    let ticks: f64 = tree(root)
        .iter()
        .filter_map(|pid| stat(*pid))
        // utime, stime, cutime, cstime (proc(5), fields 14 to 17; here counted from the state).
        .map(|fields| fields[11..15].iter().filter_map(|f| f.parse::<f64>().ok()).sum::<f64>())
        .sum();
    ticks / 100.0
}

/// CPU seconds of this process or of its ended children, to the microsecond.
pub fn own_cpu(who: nix::sys::resource::UsageWho) -> f64 {
    let usage = nix::sys::resource::getrusage(who).unwrap();
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// The load average of the machine over a minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

/// The machine in a few words.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|l| l.starts_with("model name"));
    let model = model.and_then(|l| l.split(": ").nth(1)).unwrap_or("unknown processor");
    format!("{} cores, {model}", cpus.matches("processor\t").count())
}

/// The fields of `/proc/<pid>/stat` behind the name, the state first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
