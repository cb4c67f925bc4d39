//! `salt`: run functions on minions and show what comes back.

use std::time::Duration;

use saltern_client::{Answer, BatchSize, JobRequest, LocalClient, Published, Running, run_batch};
use saltern_config::{Loaded, MasterOptions, load_master};
use saltern_value::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use super::salt_job::request;
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
    pub(super) target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    logging: Logging,
    /// The target is a compound expression: "G@os:Debian and web* or E@db.*"
    // Not among the target options, because salt-cp uses the letter for --chunked.
    #[arg(short = 'C', long, conflicts_with = "TargetKind", help_heading = "Target Options")]
    pub(super) compound: bool,
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
    pub(super) returner: String,
    /// Configuration of the returners: the name of an alternative one in the minion's options
    #[arg(long = "return_config", alias = "return-config", value_name = "NAME")]
    pub(super) return_config: Option<String>,
    /// Options of the returners for this job, as YAML
    #[arg(long = "return_kwargs", alias = "return-kwargs", value_name = "YAML")]
    pub(super) return_kwargs: Option<String>,
    /// Executors that the minions use instead of their configured ones
    #[arg(long, value_name = "LIST")]
    pub(super) module_executors: Option<String>,
    /// Options of the executors, as YAML
    #[arg(long, value_name = "YAML")]
    pub(super) executor_opts: Option<String>,
    /// Show the documentation of the function or module
    #[arg(short = 'd', long, visible_alias = "documentation")]
    pub(super) doc: bool,
    /// Delimiter between the arguments of compound commands
    #[arg(long, value_name = "SEPARATOR", default_value = ",")]
    pub(super) args_separator: String,
    /// Display summary information about the command
    #[arg(long)]
    summary: bool,
    /// Metadata to store with the job, to search jobs by
    #[arg(long, value_name = "METADATA")]
    pub(super) metadata: Option<String>,
    /// Names of arguments that are not to be typed, comma separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) no_parse: Vec<String>,
    /// Show the minions expected to match a target; issues no command
    #[arg(long)]
    pub(super) preview_target: bool,
    /// Target, function and arguments
    #[arg(value_name = "TARGET FUNCTION [ARGUMENTS]", allow_negative_numbers = true)]
    pub(super) words: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let loaded = load_master(&args.common.config_dir())?;
    logging::tool(&loaded.raw, &args.logging)?;
    let printer = Printer::new(&args.output, Defaults::of(&loaded))?;
    daemon::tool_runtime()?.block_on(Session::new(&args, loaded, printer)?.run())
}

struct Session<'a> {
    args: &'a Args,
    client: LocalClient,
    printer: Printer,
    request: JobRequest,
    timeout: Duration,
    show_jid: bool,
    show_timeout: bool,
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
        let request = request(args)?;
        unknown_nodegroup(&request, opts, args)?;
        let seconds = args.timeout.filter(|t| *t > 0.0).unwrap_or(opts.timeout as f64);
        let size = |argument: Option<usize>, option: i64| {
            argument.unwrap_or_else(|| usize::try_from(option).unwrap_or(0))
        };
        Ok(Session {
            args,
            client: LocalClient::new(opts, &user::publisher()),
            printer,
            request,
            timeout: Duration::try_from_secs_f64(seconds)
                .map_err(|_| Failure::usage("--timeout needs a number of seconds"))?,
            show_jid: args.show_jid || opts.show_jid,
            show_timeout: args.verbose || (opts.show_timeout && !args.hide_timeout),
            summary: args.summary || opts.cli_summary,
            batch_safe: (
                size(args.batch_safe_limit, opts.batch_safe_limit),
                size(args.batch_safe_size, opts.batch_safe_size),
            ),
            ret: Summary::default(),
        })
    }

    /// Does the work until it is done or the user wants it to end.
    async fn run(mut self) -> Result<i32, Failure> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            done = self.work() => return done,
            _ = interrupt.recv() => {}
        }
        let mut text = "\nExiting gracefully on Ctrl-c".to_owned();
        if let Some(jid) = self.client.current_job() {
            text.push_str(&format!(
                "\nThis job's jid is: {jid}\nThe minions may not have all finished running and \
                 any remaining minions will return upon completion. To look up the return data \
                 for this job later, run the following command:\n\n\
                 salt-run jobs.lookup_jid {jid}"
            ));
        }
        Err(Failure::new(exit::INTERRUPTED, text))
    }

    async fn work(&mut self) -> Result<i32, Failure> {
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
                warn(&published);
                line(&format!("Executed command with job ID: {}", published.jid))?;
                Ok(exit::OK)
            }
            None => Err(self.no_minions()),
        }
    }

    async fn collect(&mut self) -> Result<i32, Failure> {
        let Some(mut running) = self.client.run(&self.request, self.timeout).await? else {
            return Err(self.no_minions());
        };
        warn(&running.published);
        announce(self.args.verbose, self.show_jid, &running)?;
        let is_doc = self.request.fun.as_str() == Some("sys.doc");
        let mut group = Map::new();
        let mut retcode = 0;
        while let Some(answer) = running.next().await? {
            // Minions that are hidden do not count either, as in Salt.
            if answer.failed && !self.show_timeout {
                continue;
            }
            self.ret.add(&answer);
            if answer.failed && self.args.collect {
                continue;
            }
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
    async fn responding(&mut self) -> Result<Vec<String>, Failure> {
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
        if ids.is_empty() { Err(self.no_minions()) } else { Ok(ids) }
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

    /// Nobody matches: for programs that read the output, an empty result.
    fn no_minions(&mut self) -> Failure {
        let said = line("No minions matched the target. No command was sent, no jid was assigned.")
            .and_then(|()| self.printer.print(&Value::Map(Map::new()), None, 0));
        match said {
            Ok(()) => Failure::new(exit::NO_RETURN, "ERROR: No return received"),
            Err(error) => error.into(),
        }
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

/// Tells why a job may not reach everybody.
fn warn(published: &Published) {
    if let Some(warning) = &published.warning {
        log::warn!("{warning}");
    }
}

fn announce(verbose: bool, show_jid: bool, running: &Running<'_>) -> std::io::Result<()> {
    let jid = &running.published.jid;
    if verbose {
        let text = format!("Executing job with jid {jid}");
        line(&format!("{text}\n{}\n", "-".repeat(text.len())))
    } else if show_jid {
        line(&format!("jid: {jid}"))
    } else {
        Ok(())
    }
}

/// A nodegroup that the configuration does not have is said by name, as in Salt.
fn unknown_nodegroup(
    request: &JobRequest,
    opts: &MasterOptions,
    args: &Args,
) -> Result<(), Failure> {
    let name = request.tgt.as_str().unwrap_or_default();
    if request.tgt_type != "nodegroup" || opts.nodegroups.contains_key(name) {
        return Ok(());
    }
    let file = args.common.config_dir().join("master");
    let text = format!("Node group {name} unavailable in {}", file.display());
    Err(Failure::new(exit::NO_RETURN, text).on_stdout())
}

/// Fisher and Yates with the system's randomness; ids are few.
fn shuffle(ids: &mut [String]) {
    for last in (1..ids.len()).rev() {
        ids.swap(last, fastrand::usize(..=last));
    }
}
