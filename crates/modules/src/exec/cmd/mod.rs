//! `cmd`: run programs and shell lines.

mod options;
mod script;
mod surroundings;
mod which;

use saltern_value::{Map, Value};

use self::options::{Options, execute};
pub(super) use self::which::find as find_program;
use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// What all functions that run a command take after the command itself.
macro_rules! common {
    ($($more:literal),*) => {
        concat!(
            "cmd, cwd=None, stdin=None, runas=None, group=None, shell=None, python_shell=None, \
             env=None, clean_env=False, template=None, rstrip=True, umask=None, \
             output_encoding=None, output_loglevel='debug', log_callback=None, hide_output=False, \
             timeout=None, reset_system_locale=True, ignore_retcode=False, saltenv=None, \
             use_vt=False, ",
            $($more, ", ",)*
            "password=None, prepend_path=None, success_retcodes=None, success_stdout=None, \
             success_stderr=None, **kwargs"
        )
    };
}

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "cmd",
    doc: "Run programs and shell lines on the minion.",
    functions: &[
        Function::new("has_exec", "cmd", which::has_exec, HAS_EXEC[0], HAS_EXEC[1]),
        Function::new("retcode", common!(), retcode, RETCODE[0], RETCODE[1]),
        Function::new(
            "run",
            common!("redirect_stderr=True", "bg=False", "encoded_cmd=False", "raise_err=False"),
            run,
            RUN[0],
            RUN[1],
        ),
        Function::new(
            "run_all",
            common!("redirect_stderr=False", "encoded_cmd=False"),
            run_all,
            RUN_ALL[0],
            RUN_ALL[1],
        ),
        Function::new("run_bg", common!(), run_bg, RUN_BG[0], RUN_BG[1]),
        Function::new("run_stderr", common!(), run_stderr, RUN_STDERR[0], RUN_STDERR[1]),
        Function::new("run_stdout", common!(), run_stdout, RUN_STDOUT[0], RUN_STDOUT[1]),
        Function::new("script", script::SIGNATURE, script::script, SCRIPT[0], SCRIPT[1]),
        Function::new(
            "script_retcode",
            script::SIGNATURE,
            script::script_retcode,
            SCRIPT_RETCODE[0],
            SCRIPT_RETCODE[1],
        ),
        Function::new("shell", common!("bg=False"), shell, SHELL[0], SHELL[1]),
        Function::new("shells", "", which::shells, SHELLS[0], SHELLS[1]),
        Function::new("tty", "device, echo=''", which::tty, TTY[0], TTY[1]),
        Function::new("which", "cmd", which::which, WHICH[0], WHICH[1]),
        Function::new("which_bin", "cmds", which::which_bin, WHICH_BIN[0], WHICH_BIN[1]),
    ],
};

const RUN: [&str; 2] = [
    "Runs a command and returns what it printed, both outputs mixed.

Called by a user, the text goes through a shell (python_shell); called from elsewhere it is split
into words and run directly, unless python_shell is set. cwd (default: the home directory), env,
clean_env, prepend_path, runas, group, umask, stdin, timeout (seconds; the command is killed with
everything it started) say how. success_retcodes, success_stdout and success_stderr say what counts
as success; ignore_retcode leaves the job's return code at 0; raise_err fails the call.",
    "cmd.run \"ls -l | wc -l\" cwd=/tmp\ncmd.run 'echo $GREETING' env='{GREETING: hello}' runas=nobody",
];
const RUN_ALL: [&str; 2] = [
    "Runs a command and returns pid, retcode, stdout and stderr. Arguments as those of cmd.run.",
    "cmd.run_all 'ls /no/such/place'",
];
const RUN_STDOUT: [&str; 2] = [
    "Runs a command and returns what it printed on its standard output. Arguments as those of cmd.run.",
    "cmd.run_stdout 'df -h'",
];
const RUN_STDERR: [&str; 2] = [
    "Runs a command and returns what it printed on its error output. Arguments as those of cmd.run.",
    "cmd.run_stderr 'ls /no/such/place'",
];
const RETCODE: [&str; 2] = [
    "Runs a command and returns its return code. Arguments as those of cmd.run.",
    "cmd.retcode 'grep -q needle /etc/haystack'",
];
const RUN_BG: [&str; 2] = [
    "Starts a command, does not wait for it, and returns its process id. It outlives the minion.",
    "cmd.run_bg 'backup --everything'",
];
const SHELL: [&str; 2] =
    ["As cmd.run, but always through the shell.", "cmd.shell 'for i in 1 2 3; do echo $i; done'"];
const SCRIPT: [&str; 2] = [
    "Fetches a script (salt://, file:// or a path), runs a copy of it and returns pid, retcode, stdout and stderr. args is one text, split into words, or a list.",
    "cmd.script salt://scripts/setup.sh 'first second' cwd=/tmp",
];
const SCRIPT_RETCODE: [&str; 2] = [
    "As cmd.script, but returns only the return code.",
    "cmd.script_retcode salt://scripts/check.sh",
];
const WHICH: [&str; 2] = ["The path of a program, as the search path finds it.", "cmd.which cat"];
const WHICH_BIN: [&str; 2] =
    ["The path of the first program of a list that is there.", "cmd.which_bin '[pip3, pip]'"];
const HAS_EXEC: [&str; 2] = ["Whether a program is there.", "cmd.has_exec cat"];
const SHELLS: [&str; 2] = ["The shells of /etc/shells.", "cmd.shells"];
const TTY: [&str; 2] =
    ["Writes a text to a terminal.", "cmd.tty pts3 'The machine stops in a minute'"];

fn run(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    run_mixed(ctx, &args, false)
}

fn shell(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    run_mixed(ctx, &args, true)
}

fn run_mixed(ctx: &Context<'_>, args: &Bound, always_shell: bool) -> Result<Value, Error> {
    let mut options = Options::read(ctx, args)?;
    options.python_shell = options.python_shell || (always_shell && !args.given("python_shell"));
    options.merge_stderr = always_shell || args.truthy("redirect_stderr");
    if args.truthy("bg") {
        options.start_in_background(ctx)?;
        ctx.set_retcode(0);
        return Ok(Value::from(""));
    }
    let result = execute(ctx, &options)?;
    if args.truthy("raise_err") && result.code != 0 && !options.ignore_retcode {
        return Err(Error::exec(if options.hide_output { String::new() } else { result.stdout }));
    }
    Ok(Value::from(if options.hide_output { String::new() } else { result.stdout }))
}

fn run_all(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut options = Options::read(ctx, &args)?;
    options.merge_stderr = args.truthy("redirect_stderr");
    Ok(execute(ctx, &options)?.into_map(options.hide_output).into())
}

fn run_stdout(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let options = Options::read(ctx, &args)?;
    let result = execute(ctx, &options)?;
    Ok(Value::from(if options.hide_output { String::new() } else { result.stdout }))
}

fn run_stderr(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let options = Options::read(ctx, &args)?;
    let result = execute(ctx, &options)?;
    Ok(Value::from(if options.hide_output { String::new() } else { result.stderr }))
}

fn retcode(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut options = Options::read(ctx, &args)?;
    options.merge_stderr = true;
    Ok(Value::Int(execute(ctx, &options)?.code))
}

fn run_bg(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let pid = Options::read(ctx, &args)?.start_in_background(ctx)?;
    Ok(Value::Map(Map::from([("pid", pid)])))
}

#[cfg(test)]
mod tests;
