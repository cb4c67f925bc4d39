//! The machine's state in the shapes Salt gives it.

use std::sync::Arc;

use saltern_value::Value;
use saltern_value::pyrepr::repr;

use crate::testing::{TestHost, ok, run_on};

fn keys(value: &Value) -> Vec<&str> {
    value.as_map().unwrap().keys().map(|k| k.as_str().unwrap()).collect()
}

#[test]
fn the_kernel_is_asked() {
    assert_eq!(
        keys(&ok("status.uptime", &[])),
        ["seconds", "since_iso", "since_t", "days", "time", "users"]
    );
    assert_eq!(keys(&ok("status.loadavg", &[])), ["1-min", "5-min", "15-min"]);
    let memory = ok("status.meminfo", &[]);
    let total = memory.get("MemTotal").unwrap();
    assert_eq!(total.get("unit"), Some(&Value::from("kB")));
    assert!(total.get("value").unwrap().as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(ok("status.cpustats", &[]).get("cpu").unwrap().get("idle").is_some());
    assert!(ok("status.netdev", &[]).get("lo").unwrap().get("rx_bytes").is_some());
    assert!(ok("status.netstats", &[]).get("TcpExt").is_some());
    assert!(ok("status.vmstats", &[]).get("pgfault").is_some());
    assert!(ok("status.nproc", &[]).as_int().unwrap() > 0);
    assert!(ok("status.version", &[]).as_str().unwrap().starts_with("Linux"));
    let root = ok("status.diskusage", &["/"]);
    assert_eq!(keys(root.get("/").unwrap()), ["available", "total"]);
    assert!(ok("status.time", &["%Y"]).as_str().unwrap().starts_with("20"));
}

#[test]
fn processes_are_listed_by_their_command_line() {
    let own = std::process::id().to_string();
    let procs = ok("status.procs", &[]);
    assert_eq!(keys(procs.get(&own).unwrap()), ["user", "cmd"]);
    assert_eq!(ok("status.pid", &["no such process $(touch /tmp/x)"]), Value::from(""));
}

#[test]
fn the_master_is_asked() {
    let host = Arc::new(TestHost::new());
    assert_eq!(repr(&run_on(&host, "status.master", &["127.0.0.1"]).value), "True");
    assert_eq!(repr(&run_on(&host, "status.master", &["other"]).value), "False");
    assert_eq!(repr(&run_on(&host, "status.master", &[]).value), "None");
    host.answer(Value::List(Vec::new()));
    assert_eq!(repr(&run_on(&host, "status.ping_master", &["127.0.0.1"]).value), "True");
    assert_eq!(repr(&run_on(&host, "status.ping_master", &["127.0.0.1"]).value), "False");
    assert_eq!(repr(&run_on(&host, "status.ping_master", &["other"]).value), "False");
}
