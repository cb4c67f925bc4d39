//! What the kernel says of a process and everything below it.

use std::collections::BTreeMap;
use std::fs;

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

/// Proportional memory of the tree in MiB: shared pages count by their share. A single process
/// counts whole (its resident memory), because on this bench others may run the same executable,
/// which they would not on a machine of its own.
pub fn memory_mib(root: u32) -> f64 {
    let tree = tree(root);
    let field = if tree.len() == 1 { "Rss:" } else { "Pss:" };
    let kib: f64 = tree
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|l| l.starts_with(field))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        })
        .sum();
    kib / 1024.0
}

/// CPU seconds of the tree so far, ended children included.
pub fn cpu_seconds(root: u32) -> f64 {
    let ticks: f64 = tree(root)
        .iter()
        .filter_map(|pid| stat(*pid))
        // utime, stime, cutime, cstime (proc(5), fields 14 to 17; here counted from the state).
        .map(|fields| fields[11..15].iter().filter_map(|f| f.parse::<f64>().ok()).sum::<f64>())
        .sum();
    ticks / 100.0
}

/// The fields of `/proc/<pid>/stat` behind the name, the state first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
