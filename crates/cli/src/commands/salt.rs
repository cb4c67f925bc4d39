//! `salt`: run functions on minions and show what comes back.

use std::time::Duration;

use saltern_client::{Answer, BatchSize, JobRequest, LocalClient, Running, run_batch};
use saltern_config::{Loaded, MasterOptions, load_master};
use saltern_modules::{condition_input, parse_args};
use saltern_value::{Map, Value};

use crate::args::{Common, Logging, OutputArgs, TargetArgs};
use crate::commands::summary::Summary;
use crate::exit::{self, Failure};
use crate::printer::{Defaults, Printer, line};
use crate::{daemon, logging, user};

/// Run functions on minions
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    logging: Logging,
    /// The target is a compound expression: "G@os:Debian and web* or E@db.*"
    // Not among the target options, because salt-cp uses the letter for --chunked.
    #[arg(short = 'C', long, conflicts_with = "TargetKind", help_heading = "Target Options")]
    compound: bool,
    /// Seconds to wait for returns before asking who still works on the job
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Return the data from minions as a group after they all return
    #[arg(short = 's', long = "static")]
    collect: bool,
    /// Run the command but don't wait for a reply
    #[arg(long = "async")]
    detached: bool,
    /// Execute on a random subset of the targeted minions
    #[arg(long, value_name = "N")]
    subset: Option<usize>,
    /// Turn on command verbosity, display jid and active job queries
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Hide minions that time out
    #[arg(long)]
    hide_timeout: bool,
    /// Display jid without the additional output of --verbose
    #[arg(long)]
    show_jid: bool,
    /// Execute in batches of that many minions (or that percentage of them)
    #[arg(short = 'b', long, visible_alias = "batch-size", value_name = "BATCH")]
    batch: Option<String>,
    /// Seconds to wait after each return before its slot in the batch is filled again
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    batch_wait: f64,
    /// Execute in batch mode if that many minions are targeted
    #[arg(long, value_name = "N")]
    batch_safe_limit: Option<usize>,
    /// Batch size for --batch-safe-limit
    #[arg(long, value_name = "N")]
    batch_safe_size: Option<usize>,
    /// Stop batch execution upon the first bad return
    #[arg(long)]
    failhard: bool,
    /// Returners the minions use besides the master
    #[arg(long = "return", value_name = "RETURNER", default_value = "")]
    returner: String,
    /// Show the documentation of the function or module
    #[arg(short = 'd', long, visible_alias = "documentation")]
    doc: bool,
    /// Delimiter between the arguments of compound commands
    #[arg(long, value_name = "SEPARATOR", default_value = ",")]
    args_separator: String,
    /// Display summary information about the command
    #[arg(long)]
    summary: bool,
    /// Metadata to store with the job, to search jobs by
    #[arg(long, value_name = "METADATA")]
    metadata: Option<String>,
    /// Names of arguments that are not to be typed, comma separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    no_parse: Vec<String>,
    /// Show the minions expected to match a target; issues no command
    #[arg(long)]
    preview_target: bool,
    /// Target, function and arguments
    #[arg(value_name = "TARGET FUNCTION [ARGUMENTS]", allow_negative_numbers = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let loaded = load_master(&args.common.config_dir())?;
    logging::tool(&loaded.raw, &args.logging)?;
    let printer = Printer::new(&args.output, &Defaults::from(&loaded.opts))?;
    daemon::tool_runtime()?.block_on(Session::new(&args, loaded, printer)?.run())
}

struct Session<'a> {
    args: &'a Args,
    client: LocalClient,
    printer: Printer,
    request: JobRequest,
    timeout: Duration,
    summary: bool,
    batch_safe: (usize, usize),
    ret: Summary,
}

impl<'a> Session<'a> {
    fn new(
        args: &'a Args,
        loaded: Loaded<MasterOptions>,
        printer: Printer,
    ) -> Result<Self, Failure> {
        let opts = &loaded.opts;
        let seconds = args.timeout.filter(|t| *t > 0.0).unwrap_or(opts.timeout as f64);
        let size = |argument: Option<usize>, option: i64| {
            argument.unwrap_or_else(|| usize::try_from(option).unwrap_or(0))
        };
        Ok(Session {
            args,
            client: LocalClient::new(opts, &user::publisher()),
            printer,
            request: request(args)?,
            timeout: Duration::try_from_secs_f64(seconds)
                .map_err(|_| Failure::usage("--timeout needs a number of seconds"))?,
            summary: args.summary || opts.cli_summary,
            batch_safe: (
                size(args.batch_safe_limit, opts.batch_safe_limit),
                size(args.batch_safe_size, opts.batch_safe_size),
            ),
            ret: Summary::default(),
        })
    }

    async fn run(mut self) -> Result<i32, Failure> {
        if self.args.preview_target {
            let ids = Value::from(self.responding().await?);
            self.printer.print(&ids, None, 0)?;
            return Ok(exit::OK);
        }
        if self.args.detached {
            return self.publish_only().await;
        }
        if let Some(batch) = &self.args.batch {
            let size = BatchSize::parse(batch).map_err(Failure::usage)?;
            let ids = self.responding().await?;
            return self.batch(ids, size).await;
        }
        if self.batch_safe.0 > 1 {
            let ids = self.responding().await?;
            if ids.len() >= self.batch_safe.0 {
                line("\nNOTICE: Too many minions targeted, switching to batch execution.")?;
                return self.batch(ids, BatchSize::Count(self.batch_safe.1)).await;
            }
        }
        if let Some(count) = self.args.subset {
            self.narrow(count).await?;
        }
        self.collect().await
    }

    async fn publish_only(&mut self) -> Result<i32, Failure> {
        match self.client.publish(&self.request).await? {
            Some(published) => {
                line(&format!("Executed command with job ID: {}", published.jid))?;
                Ok(exit::OK)
            }
            None => Err(no_minions()),
        }
    }

    async fn collect(&mut self) -> Result<i32, Failure> {
        let Some(mut running) = self.client.run(&self.request, self.timeout).await? else {
            return Err(no_minions());
        };
        announce(self.args, &running)?;
        let is_doc = self.request.fun.as_str() == Some("sys.doc");
        let show_timeout = !self.args.hide_timeout || self.args.verbose;
        let mut group = Map::new();
        let mut retcode = 0;
        while let Some(answer) = running.next().await? {
            if answer.failed && (!show_timeout || self.args.collect) {
                self.ret.add(&answer);
                continue;
            }
            self.ret.add(&answer);
            if self.args.collect || is_doc {
                retcode = retcode.max(answer.retcode);
                group.insert(answer.id, answer.ret);
            } else {
                show(&mut self.printer, &answer)?;
            }
        }
        if is_doc {
            crate::commands::docs::print(&mut self.printer, &group)?;
        } else if self.args.collect {
            self.printer.print(&Value::Map(group), None, retcode)?;
        }
        self.end()
    }

    /// Those of the target that answer, as Salt finds the minions of a batch.
    async fn responding(&self) -> Result<Vec<String>, Failure> {
        let ping = JobRequest {
            fun: "test.ping".into(),
            arg: Vec::new(),
            ret: String::new(),
            ..self.request.clone()
        };
        let mut ids = Vec::new();
        if let Some(mut running) = self.client.run(&ping, self.timeout).await? {
            while let Some(answer) = running.next().await? {
                if !answer.failed {
                    ids.push(answer.id);
                } else if !self.args.preview_target && !self.args.collect {
                    line(&format!("Minion {} did not respond. No job will be sent.", answer.id))?;
                }
            }
        }
        ids.sort();
        if ids.is_empty() { Err(no_minions()) } else { Ok(ids) }
    }

    async fn narrow(&mut self, count: usize) -> Result<(), Failure> {
        let mut ids = self.responding().await?;
        shuffle(&mut ids);
        ids.truncate(count.max(1));
        self.request.tgt = Value::from(ids);
        self.request.tgt_type = "list".to_owned();
        Ok(())
    }

    async fn batch(&mut self, ids: Vec<String>, size: BatchSize) -> Result<i32, Failure> {
        let pause = Duration::try_from_secs_f64(self.args.batch_wait).unwrap_or_default();
        let (failhard, collect) = (self.args.failhard, self.args.collect);
        let (printer, summary) = (&mut self.printer, &mut self.ret);
        let (mut highest, mut group) = (0, Map::new());
        let mut written = Ok(());
        let size = size.of(ids.len());
        run_batch(
            &self.client,
            &self.request,
            ids,
            size,
            (self.timeout, pause),
            |begin| {
                if !collect {
                    let _ = line(&format!("\nExecuting run on {begin:?}\n").replace('"', "'"));
                }
            },
            |answer| {
                highest = highest.max(answer.retcode);
                summary.add(&answer);
                let good = answer.retcode == 0;
                if collect {
                    group.insert(answer.id, answer.ret);
                } else if let Err(error) = show(printer, &answer) {
                    written = Err(error);
                    return false;
                }
                good || !failhard
            },
        )
        .await?;
        written?;
        if collect {
            self.printer.print(&Value::Map(group), None, highest)?;
        }
        if self.summary {
            self.ret.print(self.args.verbose)?;
        }
        Ok(i32::try_from(highest).unwrap_or(exit::GENERIC))
    }

    fn end(&self) -> Result<i32, Failure> {
        if self.summary && self.printer.chosen().is_none() {
            self.ret.print(self.args.verbose)?;
        }
        if self.ret.is_empty() {
            return Err(Failure::new(exit::NO_RETURN, "ERROR: No return received"));
        }
        if self.ret.all_good() {
            return Ok(exit::OK);
        }
        Err(Failure::generic("ERROR: Minions returned with non-zero exit code"))
    }
}

fn show(printer: &mut Printer, answer: &Answer) -> std::io::Result<()> {
    let ret = Value::Map(Map::from([(answer.id.clone(), answer.ret.clone())]));
    printer.print(&ret, answer.out.as_deref(), answer.retcode)
}

fn announce(args: &Args, running: &Running<'_>) -> std::io::Result<()> {
    let jid = &running.published.jid;
    if args.verbose {
        let text = format!("Executing job with jid {jid}");
        line(&format!("{text}\n{}\n", "-".repeat(text.len())))
    } else if args.show_jid {
        line(&format!("jid: {jid}"))
    } else {
        Ok(())
    }
}

fn no_minions() -> Failure {
    let _ = line("No minions matched the target. No command was sent, no jid was assigned.");
    Failure::new(exit::NO_RETURN, "ERROR: No return received")
}

/// Fisher and Yates with the system's randomness; ids are few.
fn shuffle(ids: &mut [String]) {
    for last in (1..ids.len()).rev() {
        ids.swap(last, fastrand::usize(..=last));
    }
}

fn request(args: &Args) -> Result<JobRequest, Failure> {
    let mut words = args.words.iter();
    let expression =
        words.next().ok_or_else(|| Failure::usage("salt: a target and a function are required"))?;
    let (fun, arg) = if args.doc {
        (Value::from("sys.doc"), words.map(|w| Value::from(w.as_str())).collect())
    } else if args.preview_target {
        (Value::from("test.ping"), Vec::new())
    } else {
        let fun = words.next().ok_or_else(|| {
            Failure::usage("salt: a function is required").hint("for example: salt '*' test.ping")
        })?;
        let rest: Vec<String> = words.cloned().collect();
        call(fun, &rest, args)?
    };
    let mut kwargs = Map::new();
    if let Some(delimiter) = &args.target.delimiter {
        kwargs.insert("delimiter", delimiter.as_str());
    }
    if let Some(metadata) = &args.metadata {
        kwargs.insert("metadata", saltern_modules::yamlify(metadata));
    }
    Ok(JobRequest {
        tgt: args.target.tgt(expression),
        tgt_type: if args.compound { "compound" } else { args.target.tgt_type() }.to_owned(),
        fun,
        arg,
        ret: args.returner.clone(),
        jid: None,
        kwargs,
    })
}

fn call(fun: &str, rest: &[String], args: &Args) -> Result<(Value, Vec<Value>), Failure> {
    let typed = |texts: &[String]| {
        let (positional, keywords) = parse_args(texts, &args.no_parse);
        condition_input(positional, keywords)
    };
    if !fun.contains(',') {
        return Ok((Value::from(fun), typed(rest)));
    }
    let funs: Vec<&str> = fun.split(',').collect();
    let parts = compound_arguments(rest, &args.args_separator, funs.len()).ok_or_else(|| {
        Failure::usage(format!(
            "'{fun}' names {} functions, but the arguments make another number of groups",
            funs.len()
        ))
        .hint(format!("separate the groups by '{}'", args.args_separator))
    })?;
    let lists = parts.iter().map(|part| Value::List(typed(part))).collect();
    Ok((Value::List(funs.into_iter().map(Value::from).collect()), lists))
}

/// Divides the arguments of a compound call: by words that are the separator when there are as
/// many as needed, else by every separator inside the words.
fn compound_arguments(words: &[String], separator: &str, count: usize) -> Option<Vec<Vec<String>>> {
    let standalone = words.iter().filter(|w| *w == separator).count() + 1 == count;
    let mut groups = vec![Vec::new()];
    for word in words {
        let parts: Vec<&str> = if standalone && word == separator {
            vec!["", ""]
        } else if standalone {
            vec![word]
        } else {
            word.split(separator).collect()
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                groups.push(Vec::new());
            }
            if !part.is_empty() {
                groups.last_mut()?.push((*part).to_owned());
            }
        }
    }
    (groups.len() == count).then_some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_compound_calls_are_divided() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let divided = |list: &[&str], n| compound_arguments(&words(list), ",", n);
        assert_eq!(
            divided(&["cat /x", ",", ",", "foo"], 3),
            Some(vec![words(&["cat /x"]), words(&[]), words(&["foo"])])
        );
        assert_eq!(
            divided(&["cat /x,,foo"], 3),
            Some(vec![words(&["cat /x"]), words(&[]), words(&["foo"])])
        );
        assert_eq!(divided(&[], 2), None);
        assert_eq!(divided(&["a,b"], 1), None);
    }
}
