//! `salt-run`: run a function of the master.

use std::io::{IsTerminal, Write};

use saltern_client::{Connection, RemoteCall, RemoteResult};
use saltern_config::load_master;
use saltern_event::Event;
use saltern_modules::parse_args;
use saltern_value::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use super::watch;
use crate::args::{Common, Logging, OutputArgs};
use crate::exit::{self, Failure};
use crate::printer::{Defaults, Printer};
use crate::{daemon, logging, user};

/// The functions that wait and take a time for it.
const ASKING: [&str; 4] = ["manage.up", "manage.down", "manage.status", DRAIN];
/// The function that takes options of its own.
const DRAIN: &str = "master.drain";

/// Run a function of the master
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    logging: Logging,
    /// Start the function and return at once
    #[arg(long = "async")]
    detached: bool,
    /// Show the documentation of runners, or of one runner or function
    #[arg(short = 'd', long, visible_alias = "documentation")]
    doc: bool,
    /// Do not display the results
    #[arg(long)]
    quiet: bool,
    /// Seconds that manage.up, manage.down, manage.status and master.drain wait for minions
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Names of arguments that are not to be typed, comma separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    no_parse: Vec<String>,
    /// With master.drain: the master to go to, by its name in the minions' configuration
    #[arg(long, value_name = "MASTER")]
    to: Option<String>,
    /// With master.drain: wait until nobody is connected and no job runs
    #[arg(long)]
    wait: bool,
    /// With master.drain: the time over which minions leave
    #[arg(long, value_name = "SECONDS")]
    within: Option<f64>,
    /// Function and arguments
    #[arg(value_name = "FUNCTION [ARGUMENTS]", allow_negative_numbers = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let loaded = load_master(&args.common.config_dir())?;
    logging::tool(&loaded.raw, &args.logging)?;
    let mut printer = Printer::new(&args.output, Defaults::of(&loaded))?;
    let (fun, rest) = match args.words.split_first() {
        // Without a function Salt shows the documentation, as with -d.
        None => ("doc.runner", [].as_slice()),
        Some(_) if args.doc => ("doc.runner", [].as_slice()),
        Some((fun, rest)) => (fun.as_str(), rest),
    };
    let (arg, mut kwarg) = parse_args(rest, &args.no_parse);
    let runtime = daemon::tool_runtime()?;
    if fun == "state.event" {
        let paths = saltern_event::BusPaths::master(&loaded.opts.sock_dir);
        let request = watch::Request::parse(&arg, &kwarg)?;
        return runtime.block_on(watch::watch(&paths.publish, &request));
    }
    if let Some(seconds) = args.timeout.filter(|_| ASKING.contains(&fun))
        && !kwarg.contains_key("timeout")
    {
        kwarg.insert("timeout", seconds);
    }
    drain_options(&args, fun, &mut kwarg)?;
    let call = RemoteCall { fun: fun.to_owned(), arg, kwarg };
    let connection = Connection::new(&loaded.opts, &user::publisher());
    runtime.block_on(async {
        if args.detached {
            return detach(&connection, &call).await;
        }
        let result = wait(&args, &connection, &call, &mut printer).await?;
        if !args.quiet || fun == "doc.runner" {
            show(&args, &call, &result, &mut printer)?;
        }
        Ok(exit_code(&result.ret, result.success))
    })
}

/// Prints a result; some have a form of their own unless an outputter is asked for.
fn show(
    args: &Args,
    call: &RemoteCall,
    result: &RemoteResult,
    printer: &mut Printer,
) -> Result<(), Failure> {
    if call.fun == "doc.runner" {
        let names = if args.doc { args.words.as_slice() } else { &[] };
        let answers = Map::from([("master", documented(&result.ret, names.first()))]);
        return super::docs::print(printer, &answers);
    }
    let all = call.kwarg.get("verbose").is_some_and(Value::truthy);
    let table = match call.fun.as_str() {
        _ if printer.chosen().is_some() => None,
        "manage.failover" => super::fleet::table(&result.ret, all),
        "manage.health" => super::health::table(&result.ret),
        _ => None,
    };
    match table {
        Some(table) => printer.write(&table)?,
        None => printer.print(&result.ret, result.out.as_deref(), i64::from(!result.success))?,
    }
    Ok(())
}

/// Puts the options of master.drain among its arguments.
fn drain_options(args: &Args, fun: &str, kwarg: &mut Map) -> Result<(), Failure> {
    let given = [
        ("--to", "to", args.to.as_deref().map(Value::from)),
        ("--wait", "wait", args.wait.then_some(Value::Bool(true))),
        ("--within", "within", args.within.map(Value::Float)),
    ];
    for (option, name, value) in given {
        let Some(value) = value else { continue };
        if fun != DRAIN {
            let text = format!("{option} is only for {DRAIN}; leave it out");
            return Err(Failure::new(exit::USAGE, text));
        }
        kwarg.insert(name, value);
    }
    Ok(())
}

/// Starts a function and says, as Salt does in its log, where its result will be.
async fn detach(connection: &Connection, call: &RemoteCall) -> Result<i32, Failure> {
    let tag = connection.start_runner(call).await?;
    log::warn!(
        "Running in asynchronous mode. Results of this execution may be collected by attaching to \
         the master event bus or by examining the master job cache, if configured. This execution \
         is running under tag {tag}"
    );
    Ok(exit::OK)
}

/// Waits for the end of a function and shows what it says meanwhile.
async fn wait(
    args: &Args,
    connection: &Connection,
    call: &RemoteCall,
    printer: &mut Printer,
) -> Result<RemoteResult, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut unwritten = Ok(());
    let progress = |event: &Event| {
        let suffix = event.tag.splitn(4, '/').nth(3).unwrap_or_default();
        if args.quiet || suffix == "new" || unwritten.is_err() {
            return;
        }
        if call.fun == DRAIN && suffix == "drain" {
            if std::io::stderr().is_terminal() {
                let text = event.data.get_str("message").unwrap_or_default();
                unwritten = writeln!(std::io::stderr(), "{text}");
            }
            return;
        }
        let shown =
            Map::from([("suffix", Value::from(suffix)), ("event", Value::Map(event.data.clone()))]);
        unwritten = printer.print(&Value::Map(shown), None, 0);
    };
    let result = tokio::select! {
        result = connection.runner(call, progress) => result?,
        _ = interrupt.recv() => {
            let text = "\nExiting gracefully on Ctrl-c\nThe function goes on in the master; \
                        salt-run jobs.list_jobs shows its result later";
            return Err(Failure::new(exit::INTERRUPTED, text));
        }
    };
    unwritten?;
    Ok(result)
}

/// The documentation of one function or module of all; of all without a name.
fn documented(docs: &Value, name: Option<&String>) -> Value {
    let mut docs = docs.as_map().cloned().unwrap_or_default();
    if let Some(name) = name {
        let module = format!("{name}.");
        docs.retain(|fun, _| {
            fun.as_str().is_some_and(|fun| fun == name || fun.starts_with(&module))
        });
    }
    Value::Map(docs)
}

/// The function's own exit code (`{"data": ..., "retcode": 1}`), else whether it succeeded.
fn exit_code(ret: &Value, success: bool) -> i32 {
    let code = ret.get("retcode").and_then(Value::as_int);
    match code.and_then(|c| i32::try_from(c).ok()) {
        Some(code) => code,
        None if success => exit::OK,
        None => exit::GENERIC,
    }
}
