//! How a command is to be run, read from the arguments all functions share, and running it.

use std::path::Path;
use std::time::Duration;

use log::Level;
use saltern_value::{Map, Value};

use super::surroundings::{environment, identity, working_directory};
use crate::bind::{Bound, to_int, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::process::{self, Identity, Program};
use crate::shlex;

/// A command and how to run it.
pub(super) struct Options {
    pub(super) cmd: Value,
    pub(super) python_shell: bool,
    pub(super) merge_stderr: bool,
    pub(super) hide_output: bool,
    pub(super) ignore_retcode: bool,
    shell: String,
    cwd: String,
    env: Vec<(String, String)>,
    identity: Option<Identity>,
    runas: Option<String>,
    stdin: Option<String>,
    timeout: Option<(Duration, String)>,
    umask: Option<u32>,
    rstrip: bool,
    latin1: bool,
    log_level: Option<Level>,
    success: Success,
}

#[derive(Default)]
struct Success {
    codes: Vec<i64>,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

/// What came of a command.
pub(super) struct CommandResult {
    pub(super) pid: u32,
    pub(super) code: i64,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl CommandResult {
    pub(super) fn into_map(self, hide_output: bool) -> Map {
        let shown = |text: String| if hide_output { String::new() } else { text };
        Map::from([
            ("pid", Value::from(self.pid)),
            ("retcode", Value::Int(self.code)),
            ("stdout", Value::from(shown(self.stdout))),
            ("stderr", Value::from(shown(self.stderr))),
        ])
    }
}

impl Options {
    /// Reads the arguments; `cmd` may be absent (scripts set it later).
    pub(super) fn read(ctx: &Context<'_>, args: &Bound) -> Result<Self, Error> {
        refuse_unsupported(args)?;
        let by_user = args.kwargs.contains_key("__pub_jid");
        if by_user {
            check_permitted(ctx, args.get("cmd"))?;
        }
        let shell = args
            .opt_text("shell")
            .or_else(|| std::env::var("SHELL").ok())
            .unwrap_or_else(|| "/bin/sh".to_owned());
        if !super::which::is_executable(Path::new(&shell)) {
            return Err(Error::exec(format!("The shell {shell} is not available")));
        }
        let runas = args.opt_text("runas");
        let group = args.opt_text("group");
        let identity = identity(runas.as_deref(), group.as_deref())?;
        let cwd = working_directory(args, runas.as_deref())?;
        let python_shell = match args.get("python_shell") {
            Value::Nil => by_user || ctx.opt("cmd_safe") == Value::Bool(false),
            other => other.truthy(),
        };
        let env = environment(ctx, args, runas.as_deref(), identity.as_ref(), &shell)?;
        Ok(Options {
            cmd: args.get("cmd").clone(),
            python_shell,
            merge_stderr: false,
            hide_output: args.truthy("hide_output"),
            ignore_retcode: args.truthy("ignore_retcode"),
            shell,
            cwd,
            env,
            identity,
            runas,
            stdin: stdin(args),
            timeout: timeout(args)?,
            umask: umask(args)?,
            rstrip: args.truthy("rstrip") || !args.has("rstrip"),
            latin1: latin1(args)?,
            log_level: log_level(args),
            success: success(args)?,
        })
    }

    fn program(&self) -> Result<Program, Error> {
        let argv = match (&self.cmd, self.python_shell) {
            (Value::List(words), true) => {
                let mut argv = vec![self.shell.clone(), "-c".to_owned()];
                argv.extend(words.iter().map(to_text));
                argv
            }
            (cmd, true) => vec![self.shell.clone(), "-c".to_owned(), to_text(cmd)],
            (Value::List(words), false) => words.iter().map(to_text).collect(),
            (cmd, false) => shlex::split(&to_text(cmd))?,
        };
        if argv.is_empty() {
            return Err(Error::invalid("no command was given"));
        }
        Ok(Program {
            argv,
            shown_as: None,
            cwd: self.cwd.clone().into(),
            env: self.env.clone(),
            stdin: self.stdin.clone().map(String::into_bytes),
            merge_stderr: self.merge_stderr,
            timeout: self.timeout.as_ref().map(|(t, _)| *t),
            umask: self.umask,
            identity: self.identity.clone(),
        })
    }

    /// Starts the command and does not wait.
    pub(super) fn start_in_background(&self, ctx: &Context<'_>) -> Result<u32, Error> {
        self.announce();
        ctx.set_retcode(0);
        process::run_in_background(&self.program()?).map_err(|e| self.unable(&e))
    }

    fn announce(&self) {
        if self.log_level.is_some() {
            let user = self.runas.as_ref().map_or(String::new(), |u| format!("as user '{u}' "));
            log::info!("Executing command {} {user}in directory '{}'", self.shown(), self.cwd);
        }
    }

    /// The command for logs: the program, not its arguments, which may hold secrets.
    fn shown(&self) -> String {
        let text = match &self.cmd {
            Value::List(words) => words.first().map(to_text).unwrap_or_default(),
            other => to_text(other),
        };
        format!("'{}'", text.split_whitespace().next().unwrap_or_default())
    }

    fn unable(&self, error: &std::io::Error) -> Error {
        let cmd = match (&self.cmd, self.log_level) {
            (_, None) => "REDACTED".to_owned(),
            (Value::Str(text), _) if !self.python_shell => shlex::split(text)
                .map(|words| to_text(&Value::from(words)))
                .unwrap_or_else(|_| text.clone()),
            (cmd, _) => to_text(cmd),
        };
        let reason = match error.raw_os_error() {
            Some(code) => {
                let text = error.to_string();
                let text = text.split(" (os error").next().unwrap_or_default();
                let program = self.program().ok().and_then(|p| p.argv.into_iter().next());
                format!("[Errno {code}] {text}: '{}'", program.unwrap_or_default())
            }
            None => error.to_string(),
        };
        let shell = if self.python_shell { "True" } else { "False" };
        Error::exec(format!(
            "Unable to run command '{cmd}' with the context '{{'cwd': '{}', 'shell': {shell}}}', \
             reason: {reason}",
            self.cwd
        ))
    }
}

/// Runs the command and sets the job's return code.
pub(super) fn execute(ctx: &Context<'_>, options: &Options) -> Result<CommandResult, Error> {
    options.announce();
    let program = options.program()?;
    let done = process::run(&program, ctx.job()).map_err(|e| options.unable(&e))?;
    if let (true, Some((_, seconds))) = (done.timed_out, &options.timeout) {
        let shown = match &options.cmd {
            Value::Str(text) if options.python_shell => text.clone(),
            _ => to_text(&Value::from(program.argv)),
        };
        // As in Salt the job's return code is not touched here, which leaves what it was.
        return Ok(CommandResult {
            pid: done.pid,
            code: 1,
            stdout: format!("{shown} : Timed out after {seconds} seconds"),
            stderr: String::new(),
        });
    }
    let text = |bytes: Vec<u8>| {
        let text = if options.latin1 {
            bytes.into_iter().map(char::from).collect()
        } else {
            String::from_utf8(bytes)
                .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
        };
        if options.rstrip { text.trim_end().to_owned() } else { text }
    };
    let (stdout, stderr) = (text(done.stdout), text(done.stderr));
    let success = &options.success;
    let fine = success.codes.contains(&done.code)
        || success.stdout.iter().any(|s| stdout.contains(s.as_str()))
        || success.stderr.iter().any(|s| stderr.contains(s.as_str()));
    let result =
        CommandResult { pid: done.pid, code: if fine { 0 } else { done.code }, stdout, stderr };
    ctx.set_retcode(if options.ignore_retcode { 0 } else { result.code });
    report(options, &result);
    Ok(result)
}

fn report(options: &Options, result: &CommandResult) {
    let Some(mut level) = options.log_level else { return };
    if result.code != 0 && !options.ignore_retcode {
        // What a failed command said is wanted in the log.
        level = Level::Error;
        log::error!("Command {} failed with return code: {}", options.shown(), result.code);
    }
    if !result.stdout.is_empty() {
        log::log!(level, "stdout: {}", result.stdout);
    }
    if !result.stderr.is_empty() {
        log::log!(level, "stderr: {}", result.stderr);
    }
    if result.code != 0 {
        log::log!(level, "retcode: {}", result.code);
    }
}

fn refuse_unsupported(args: &Bound) -> Result<(), Error> {
    for (option, why) in [
        ("template", "templates are not supported yet; render the command before"),
        ("use_vt", "there is no terminal emulation; leave it out"),
        ("encoded_cmd", "it is for PowerShell, which is not supported"),
    ] {
        if args.truthy(option) {
            return Err(Error::exec(format!("'{option}' cannot be used: {why}")));
        }
    }
    Ok(())
}

/// `cmd_blacklist_glob` and `cmd_whitelist_glob`, for calls that come from users.
fn check_permitted(ctx: &Context<'_>, cmd: &Value) -> Result<(), Error> {
    let text = match cmd {
        Value::List(words) => words.iter().map(to_text).collect::<Vec<_>>().join(" "),
        other => to_text(other),
    };
    let listed = |option: &str| -> Option<bool> {
        let patterns = ctx.run("config.get", vec![option.into()], Map::new()).ok()?;
        let patterns = patterns.as_list().filter(|l| !l.is_empty())?;
        Some(patterns.iter().any(|p| saltern_target::Glob::new(&to_text(p)).matches(&text)))
    };
    let denied = listed("cmd_blacklist_glob").unwrap_or(false);
    if denied || !listed("cmd_whitelist_glob").unwrap_or(true) {
        return Err(Error::exec(format!("The shell command \"{text}\" is not permitted")));
    }
    Ok(())
}

fn stdin(args: &Bound) -> Option<String> {
    if args.get("stdin").is_nil() {
        return None;
    }
    let text = args.text("stdin");
    let raw = args.kwargs.get("stdin_raw_newlines").is_some_and(Value::truthy);
    Some(if raw { text } else { text.replace("\\n", "\n") })
}

/// The time, and its text as the user wrote it.
fn timeout(args: &Bound) -> Result<Option<(Duration, String)>, Error> {
    let value = args.get("timeout");
    if !value.truthy() {
        return Ok(None);
    }
    let seconds =
        value.as_f64().filter(|s| *s > 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok());
    match seconds {
        Some(seconds) => Ok(Some((seconds, to_text(value)))),
        None => Err(Error::exec(format!("Error: timeout {} must be a number", to_text(value)))),
    }
}

fn umask(args: &Bound) -> Result<Option<u32>, Error> {
    let value = args.get("umask");
    if value.is_nil() {
        return Ok(None);
    }
    let text = to_text(value);
    let digits = text.trim_start_matches('0');
    if digits.is_empty() {
        return Err(Error::exec("Zero umask is not allowed."));
    }
    match u32::from_str_radix(digits, 8) {
        Ok(mask) if mask <= 0o777 => Ok(Some(mask)),
        _ => Err(Error::exec(format!("Invalid umask: '{text}'"))),
    }
}

fn latin1(args: &Bound) -> Result<bool, Error> {
    let name = args.text("output_encoding").to_ascii_lowercase().replace(['-', '_'], "");
    match name.as_str() {
        "" | "utf8" | "ascii" | "usascii" => Ok(false),
        "latin1" | "iso88591" => Ok(true),
        _ => Err(Error::invalid(format!(
            "output_encoding '{}' is not supported; use utf-8 or latin-1",
            args.text("output_encoding")
        ))),
    }
}

/// The level of `output_loglevel`; `None` is `quiet`.
fn log_level(args: &Bound) -> Option<Level> {
    match args.text("output_loglevel").to_ascii_lowercase().as_str() {
        "quiet" => None,
        "" | "debug" => Some(Level::Debug),
        "garbage" | "trace" | "all" => Some(Level::Trace),
        "warning" | "warn" => Some(Level::Warn),
        "error" | "critical" => Some(Level::Error),
        "info" | "profile" => Some(Level::Info),
        other => {
            log::error!("'{other}' is no log level; 'info' is used");
            Some(Level::Info)
        }
    }
}

fn success(args: &Bound) -> Result<Success, Error> {
    let texts = |name: &str| args.list(name).iter().map(to_text).collect();
    let codes: Option<Vec<i64>> = match args.get("success_retcodes") {
        Value::Nil => Some(vec![0]),
        _ => args.list("success_retcodes").iter().map(to_int).collect(),
    };
    Ok(Success {
        codes: codes
            .ok_or_else(|| Error::invalid("success_retcodes must be a list of integers"))?,
        stdout: texts("success_stdout"),
        stderr: texts("success_stderr"),
    })
}
