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
    let answer = |fun: &str, args: &[&str]| repr(&run_on(&host, fun, args).value);
    assert_eq!(answer("status.master", &["127.0.0.1"]), "True");
    // An address of the documentation's network: nobody is connected to it.
    assert_eq!(answer("status.master", &["192.0.2.1", "connected=False"]), "False");
    assert_eq!(host.fired.lock().unwrap().len(), 0, "all is as expected");
    assert_eq!(answer("status.master", &["192.0.2.1"]), "False");
    assert_eq!(answer("status.master", &["127.0.0.1", "connected=False"]), "True");
    assert_eq!(answer("status.master", &["", "connected=False"]), answer("status.master", &[]));
    assert_eq!(answer("status.ping_master", &["127.0.0.1"]), "True");
    assert_eq!(answer("status.ping_master", &["other"]), "False");
    assert_eq!(answer("status.ping_master", &[""]), "False");
    let fired: Vec<String> =
        host.fired.lock().unwrap().iter().map(|(tag, _)| tag.clone()).collect();
    assert_eq!(fired, ["__master_disconnected", "__master_connected", "__master_failback"]);
}

#[test]
fn without_a_name_the_minion_shows_itself() {
    let shown = ok("status.master", &[]);
    assert_eq!(shown.get("master"), Some(&Value::from("127.0.0.1")));
    assert_eq!(shown.get("masters"), None, "the list of masters is failover.status's");
}
