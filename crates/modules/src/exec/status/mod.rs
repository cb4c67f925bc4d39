//! `status`: how the machine is doing, read from `/proc`.

mod machine;
mod masters;
mod procs;

use std::time::SystemTime;

use saltern_value::{Map, Value};

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "status",
    doc: "Ask how the machine is doing.",
    functions: &[
        Function::new(
            "all_status",
            "",
            all_status,
            "Returns all of the below at once.",
            "status.all_status",
        ),
        Function::new(
            "cpuinfo",
            "",
            machine::cpuinfo,
            "Returns what /proc/cpuinfo says of the last processor.",
            "status.cpuinfo",
        ),
        Function::new(
            "cpustats",
            "",
            machine::cpustats,
            "Returns the counters of /proc/stat.",
            "status.cpustats",
        ),
        Function::new(
            "custom",
            "",
            custom,
            "Returns the values the options status.<function>.custom name.",
            "status.custom",
        ),
        Function::new(
            "diskstats",
            "",
            machine::diskstats,
            "Returns the counters of the disks.",
            "status.diskstats",
        ),
        Function::new(
            "diskusage",
            "*args",
            machine::diskusage,
            "Returns total and available bytes of mounted file systems, all or by path or type (a type is told from a path by having no slash).",
            "status.diskusage / ext4",
        ),
        Function::new(
            "loadavg",
            "",
            machine::loadavg,
            "Returns the load averages.",
            "status.loadavg",
        ),
        Function::new(
            "master",
            "master=None, connected=True",
            masters::master,
            "Whether this machine is connected to that master; an event on the minion's bus says \
             so when it is not as expected by connected. None when the name has no address. \
             Without a name: the minion's own view of its master, the last switch, the latency of \
             its probes and the returns that wait.",
            "status.master\nstatus.master salt1.example.com",
        ),
        Function::new(
            "meminfo",
            "",
            machine::meminfo,
            "Returns what /proc/meminfo says.",
            "status.meminfo",
        ),
        Function::new(
            "netdev",
            "",
            machine::netdev,
            "Returns the counters of the network interfaces.",
            "status.netdev",
        ),
        Function::new(
            "netstats",
            "",
            machine::netstats,
            "Returns the counters of the network protocols.",
            "status.netstats",
        ),
        Function::new(
            "nproc",
            "",
            machine::nproc,
            "Returns the number of processors.",
            "status.nproc",
        ),
        Function::new(
            "pid",
            "sig",
            procs::pid,
            "Returns the ids of processes whose command line contains a text.",
            "status.pid nginx",
        ),
        Function::new(
            "ping_master",
            "master",
            masters::ping_master,
            "Whether anybody answers a ping at that master; then the event of a failback is fired \
             on the minion's bus.",
            "status.ping_master localhost",
        ),
        Function::new(
            "procs",
            "",
            procs::procs,
            "Returns the processes with user and command line.",
            "status.procs",
        ),
        Function::new(
            "time",
            "format='%A, %d. %B %Y %I:%M%p'",
            time,
            "Returns the time, as local time in that format.",
            "status.time '%s'",
        ),
        Function::new(
            "uptime",
            "",
            machine::uptime,
            "Returns how long the machine is up, and since when.",
            "status.uptime",
        ),
        Function::new(
            "version",
            "",
            machine::version,
            "Returns what /proc/version says.",
            "status.version",
        ),
        Function::new(
            "vmstats",
            "",
            machine::vmstats,
            "Returns the counters of /proc/vmstat.",
            "status.vmstats",
        ),
        Function::new(
            "w",
            "",
            procs::w,
            "Returns who is logged in, as the program w tells it.",
            "status.w",
        ),
    ],
};

fn all_status(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let names = [
        "cpuinfo",
        "cpustats",
        "diskstats",
        "diskusage",
        "loadavg",
        "meminfo",
        "netdev",
        "netstats",
        "uptime",
        "vmstats",
        "w",
    ];
    let mut all = Map::new();
    for name in names {
        all.insert(name, ctx.run(&format!("status.{name}"), Vec::new(), Map::new())?);
    }
    Ok(Value::Map(all))
}

/// `status.<function>.custom: [name, ...]` chooses members of what a function returns.
fn custom(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let options = ctx.run("config.dot_vals", vec!["status".into()], Map::new())?;
    let mut found = Map::new();
    for (name, wanted) in options.as_map().into_iter().flatten() {
        let function = name
            .as_str()
            .and_then(|n| n.strip_prefix("status.")?.strip_suffix(".custom"))
            .filter(|f| !f.is_empty() && *f != "custom");
        let (Some(function), Some(wanted)) = (function, wanted.as_list()) else { continue };
        let all = ctx.run(&format!("status.{function}"), Vec::new(), Map::new())?;
        for item in wanted {
            if let Some(value) = all.as_map().and_then(|m| m.get_value(item)) {
                found.insert(item.clone(), value.clone());
            }
        }
    }
    Ok(Value::Map(found))
}

fn time(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let format = args.text("format");
    if format == "%s" {
        return Ok(Value::from(saltern_base::time::epoch(SystemTime::now()).to_string()));
    }
    // `date` knows the time zone's rules, and the format is its own.
    let cmd = Value::List(vec!["date".into(), format!("+{format}").into()]);
    let kwargs = Map::from([("python_shell", false)]);
    ctx.run("cmd.run", vec![cmd], kwargs)
}

#[cfg(test)]
mod tests;
