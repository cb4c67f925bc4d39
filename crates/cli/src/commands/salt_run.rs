//! `salt-run`: run a function of the master.

use saltern_client::{Connection, RemoteCall};
use saltern_config::load_master;
use saltern_modules::parse_args;
use saltern_value::{Map, Value};

use super::watch;
use crate::args::{Common, Logging, OutputArgs};
use crate::exit::{self, Failure};
use crate::printer::{Defaults, Printer, line};
use crate::{daemon, logging, user};

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
    /// Names of arguments that are not to be typed, comma separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    no_parse: Vec<String>,
    /// Function and arguments
    #[arg(value_name = "FUNCTION [ARGUMENTS]", allow_negative_numbers = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let loaded = load_master(&args.common.config_dir())?;
    logging::tool(&loaded.raw, &args.logging)?;
    let mut printer = Printer::new(&args.output, &Defaults::from(&loaded.opts))?;
    let (fun, rest) = match args.words.split_first() {
        _ if args.doc => ("doc.runner", args.words.as_slice()),
        Some((fun, rest)) => (fun.as_str(), rest),
        None => return Err(Failure::usage("salt-run: a function is required")),
    };
    let (arg, kwarg) = parse_args(rest, &args.no_parse);
    let runtime = daemon::tool_runtime()?;
    if fun == "state.event" {
        let paths = saltern_event::BusPaths::master(&loaded.opts.sock_dir);
        let request = watch::Request::parse(&arg, &kwarg)?;
        return runtime.block_on(watch::watch(&paths.publish, &request));
    }
    let call = RemoteCall { fun: fun.to_owned(), arg, kwarg };
    let connection = Connection::new(&loaded.opts, &user::publisher());
    runtime.block_on(async {
        if args.detached {
            let tag = connection.start_runner(&call).await?;
            line(&format!("Running in asynchronous mode. Results of this execution may be collected \
                           by attaching to the master event bus or by examining the master job \
                           cache, if configured. This execution is running under tag {tag}"))?;
            return Ok(exit::OK);
        }
        let result = connection.runner(&call, |_| {}).await?;
        if args.doc {
            let answers = Map::from([("master", result.ret.clone())]);
            super::docs::print(&mut printer, &answers)?;
        } else if !args.quiet {
            printer.print(&result.ret, result.out.as_deref(), i64::from(!result.success))?;
        }
        Ok(exit_code(&result.ret, result.success))
    })
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
