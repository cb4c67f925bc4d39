//! `salt-call`: run a function on this machine, with or without a master.

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use saltern_base::Jid;
use saltern_config::{Loaded, MinionOptions, load_minion};
use saltern_minion::Caller;
use saltern_modules::{Call, Failure as CallFailure, Outcome, parse_args};
use saltern_value::{Map, Value};

use crate::args::{Common, Logging, OutputArgs};
use crate::exit::{self, Failure};
use crate::printer::{Defaults, Printer, line};
use crate::{daemon, logging};

/// Run a function on this machine
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    logging: Logging,
    /// Run as if there was no master
    #[arg(long)]
    local: bool,
    /// Show the grains
    #[arg(short = 'g', long)]
    grains: bool,
    /// Show the documentation of a function or module
    #[arg(short = 'd', long, visible_alias = "documentation")]
    doc: bool,
    /// Exit with the code of the function
    #[arg(long)]
    retcode_passthrough: bool,
    /// Show the metadata of the execution as well as the return
    #[arg(long)]
    metadata: bool,
    /// The minion id to use
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The master to use; repeat it for several
    #[arg(long, value_name = "MASTER")]
    master: Vec<String>,
    /// Cache directory
    #[arg(long, value_name = "DIR")]
    cachedir: Option<PathBuf>,
    /// Directory of files with --local
    #[arg(long, value_name = "DIR")]
    file_root: Option<PathBuf>,
    /// Directory of pillar with --local
    #[arg(long, value_name = "DIR")]
    pillar_root: Option<PathBuf>,
    /// Names of arguments that are not to be typed, comma separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    no_parse: Vec<String>,
    /// Function and arguments
    #[arg(value_name = "FUNCTION [ARGUMENTS]", allow_negative_numbers = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let mut loaded = load_minion(&args.common.config_dir())?;
    logging::tool(&loaded.raw, &args.logging)?;
    apply(&args, &mut loaded);
    // A tool of the moment does not repeat what the daemon says at its start, unless it is asked.
    if args.logging.log_level.is_some() {
        logging::warnings(&loaded.warnings);
    }
    let mut printer = Printer::new(&args.output, Defaults::of(&loaded))?;
    let mut call = call(&args)?;
    call.jid = Some(Jid::at(SystemTime::now()));
    let id = loaded.opts.id.clone();
    let local = args.local || loaded.opts.file_client == "local";
    let caller = Caller::new(loaded).emit(|text| drop(line(text)));
    let asked = call.clone();
    let outcome = if local {
        caller.call_local(call)
    } else {
        let runtime = daemon::minion_runtime()?;
        let done = runtime.block_on(caller.call(call));
        runtime.shutdown_background();
        done.map_err(Failure::from)?
    };
    finish(&args, &mut printer, &id, &asked, outcome)
}

/// Options that stand on the command line count more than those of the files.
fn apply(args: &Args, loaded: &mut Loaded<MinionOptions>) {
    let (opts, raw) = (&mut loaded.opts, &mut loaded.raw);
    if let Some(id) = &args.id {
        opts.id.clone_from(id);
        raw.insert("id", id.as_str());
    }
    if !args.master.is_empty() {
        opts.master.items.clone_from(&args.master);
        raw.insert("master", args.master.clone());
    }
    if let Some(dir) = &args.cachedir {
        opts.cachedir.clone_from(dir);
        raw.insert("cachedir", dir.display().to_string());
    }
    let roots = |dir: &PathBuf| Map::from([("base", vec![dir.display().to_string()])]);
    if let Some(dir) = &args.file_root {
        raw.insert("file_roots", roots(dir));
    }
    if let Some(dir) = &args.pillar_root {
        raw.insert("pillar_roots", roots(dir));
    }
    if args.local {
        "local".clone_into(&mut opts.file_client);
        raw.insert("file_client", "local");
    }
}

fn call(args: &Args) -> Result<Call, Failure> {
    if args.grains {
        return Ok(Call::new("grains.items", Vec::new(), Map::new()));
    }
    if args.doc {
        let names = args.words.iter().map(|w| Value::from(w.as_str())).collect();
        return Ok(Call::new("sys.doc", names, Map::new()));
    }
    let Some((fun, rest)) = args.words.split_first() else {
        return Err(Failure::usage("salt-call: a function is required")
            .hint("for example: salt-call --local test.ping"));
    };
    let (positional, keywords) = parse_args(rest, &args.no_parse);
    Ok(Call::new(fun, positional, keywords))
}

fn finish(
    args: &Args,
    printer: &mut Printer,
    id: &str,
    call: &Call,
    outcome: Outcome,
) -> Result<i32, Failure> {
    if let Some(failure) = &outcome.failure {
        // Salt writes why there is no result to standard error, and nothing to standard output.
        let text = outcome.value.as_str().unwrap_or("the function failed");
        let text = match text.strip_prefix("ERROR: ") {
            Some(reason) => format!("Error running '{}': {reason}", call.fun),
            None => text.to_owned(),
        };
        writeln!(std::io::stderr(), "{text}")?;
        return Ok(match failure {
            CallFailure::NotAvailable => -1,
            CallFailure::Failed(_) => exit::GENERIC,
        });
    }
    let retcode = outcome.retcode;
    if args.doc {
        super::docs::print(printer, &Map::from([(id, outcome.value)]))?;
    } else if args.metadata {
        let metadata = Map::from([
            ("jid", Value::from(call.jid.as_ref().map_or("", Jid::as_str))),
            ("fun", call.fun.as_str().into()),
            ("fun_args", Value::List(call.args.clone())),
            ("id", id.into()),
            ("retcode", retcode.into()),
            ("return", outcome.value),
        ]);
        let all = Value::Map(Map::from([("local", metadata)]));
        printer.print(&all, outcome.out.as_deref(), retcode)?;
    } else {
        let all = Value::Map(Map::from([("local", outcome.value)]));
        printer.print(&all, outcome.out.as_deref(), retcode)?;
    }
    Ok(match i32::try_from(retcode) {
        Ok(code) if args.retcode_passthrough => code,
        Ok(0) => exit::OK,
        _ => exit::GENERIC,
    })
}
