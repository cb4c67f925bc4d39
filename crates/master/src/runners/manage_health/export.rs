//! The option `health_file`: what `manage.health` tells, written again and again as a file in
//! Prometheus' text format, for the textfile collector of node_exporter and its kin.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use saltern_base::atomic_file;
use tokio::time::{MissedTickBehavior, interval};

use super::lines::{self, Line};
use crate::context::Shared;

/// How often it is written: collectors look every 15 s or less often.
const EVERY: Duration = Duration::from_secs(15);
/// Everybody may read it: it has numbers only, and collectors are not root.
const MODE: u32 = 0o644;

/// Writes it until it is dropped. What fails is tried again, and said once until it works.
pub(crate) async fn run(shared: &Arc<Shared>) {
    if shared.opts.health_file.is_empty() {
        return;
    }
    let path = PathBuf::from(&shared.opts.health_file);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let (of, to) = (Arc::clone(shared), path.clone());
        // Not under the bound of what computes: it must also be told when that is all taken.
        let written = tokio::task::spawn_blocking(move || write(&of, &to)).await;
        let Ok(written) = written else { return };
        match &written {
            Err(error) if !failing => log::warn!(
                "option 'health_file': {} cannot be written: {error}; it is tried again, make \
                 its directory and let user {} write there",
                path.display(),
                shared.opts.user
            ),
            Ok(()) if failing => log::info!("{} is written again", path.display()),
            _ => {}
        }
        failing = written.is_err();
    }
}

fn write(shared: &Shared, path: &Path) -> std::io::Result<()> {
    // Nobody needs it after a power cut, so nobody waits for the disk.
    atomic_file::write_unsynced(path, text(&lines::read(shared)).as_bytes(), MODE)
}

/// Counts end in `_total` and run from the start of the master on, whatever was reset; the limit of
/// a gauge stands beside it.
fn text(lines: &[Line]) -> String {
    let mut out = String::with_capacity(128 * lines.len());
    let mut metric = |name: &str, help: &str, kind: &str, value: u64| {
        let name = format!("saltern_master_{name}");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    for line in lines {
        if line.counts() {
            metric(&format!("{}_total", line.name), &line.what, "counter", line.value);
            continue;
        }
        metric(&line.name, &line.what, "gauge", line.value);
        if let Some(limit) = line.limit {
            let help = format!("the most that {} may be", line.name);
            metric(&format!("{}_limit", line.name), &help, "gauge", limit);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_gauges_and_limits_are_metrics() {
        let lines = [
            Line::loss("returns_refused", 3, "returns refused", "look at the disk"),
            Line::gauge("connections", 9, "both").of(10, "more"),
        ];
        assert_eq!(
            text(&lines),
            "# HELP saltern_master_returns_refused_total returns refused\n\
             # TYPE saltern_master_returns_refused_total counter\n\
             saltern_master_returns_refused_total 3\n\
             # HELP saltern_master_connections both\n\
             # TYPE saltern_master_connections gauge\n\
             saltern_master_connections 9\n\
             # HELP saltern_master_connections_limit the most that connections may be\n\
             # TYPE saltern_master_connections_limit gauge\n\
             saltern_master_connections_limit 10\n"
        );
    }
}
