//! Which program this is: by the name of the link (`salt-master`), or by the first argument
//! (`saltern master`).

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands;
use crate::exit::{self, Failure};

/// Names of links and the program each is.
pub(crate) const LINKS: &[(&str, &str)] = &[
    ("salt-master", "master"),
    ("salt-minion", "minion"),
    ("salt", "salt"),
    ("salt-key", "key"),
    ("salt-call", "call"),
    ("salt-run", "run"),
    ("salt-cp", "cp"),
];

/// A program and its arguments.
#[derive(Debug)]
pub(crate) enum Chosen {
    Master(commands::master::Args),
    Minion(commands::minion::Args),
    Salt(Box<commands::salt::Args>),
    Key(Box<commands::salt_key::Args>),
    Call(commands::salt_call::Args),
    Run(commands::salt_run::Args),
    Cp(commands::salt_cp::Args),
    Links(commands::links::Args),
    Config(commands::config::Args),
    Demo(crate::demo::Args),
    Swarm(Box<commands::swarm::Args>),
    /// `--help`, `--version`: a text to print.
    Print(String),
}

#[derive(Parser, Debug)]
#[command(
    name = "saltern",
    version,
    about = "Salt-compatible master, minion and tools in one executable",
    after_help = "Called through a link named salt-master, salt-minion, salt, salt-key, \
                  salt-call, salt-run or salt-cp it is that program; `saltern links DIR` makes \
                  the links."
)]
enum Saltern {
    /// The master daemon (salt-master)
    Master(commands::master::Args),
    /// The minion daemon (salt-minion)
    Minion(commands::minion::Args),
    /// Run functions on minions (salt)
    Salt(Box<commands::salt::Args>),
    /// Manage the keys of minions (salt-key)
    Key(Box<commands::salt_key::Args>),
    /// Run a function on this machine (salt-call)
    Call(commands::salt_call::Args),
    /// Run a function of the master (salt-run)
    Run(commands::salt_run::Args),
    /// Copy files to minions (salt-cp)
    Cp(commands::salt_cp::Args),
    /// Make links named as Salt's programs
    Links(commands::links::Args),
    /// Explain configuration options and where they are set
    Config(commands::config::Args),
    /// The main job, live: two masters, a fleet, one master dies, the fleet goes on
    Demo(crate::demo::Args),
    /// A fleet of simulated minions, for capacity planning
    Swarm(Box<commands::swarm::Args>),
}

/// Reads the command line.
///
/// # Errors
/// When it makes no sense; Salt's exit code for that is 64.
pub(crate) fn choose(mut argv: Vec<OsString>) -> Result<Chosen, Failure> {
    let name = argv.first().map(Path::new).and_then(Path::file_name).and_then(|n| n.to_str());
    let by_link = name.and_then(|name| LINKS.iter().find(|(link, _)| *link == name));
    let by_word = argv.get(1).and_then(|word| LINKS.iter().find(|(_, program)| word == program));
    if by_link.is_none() && by_word.is_some() {
        argv.remove(0);
    }
    if let (Some((link, _)), Some(first)) = (by_link.or(by_word), argv.first_mut()) {
        // The name that the usage line shows.
        *first = link.into();
    }
    match by_link.or(by_word) {
        Some((link, "master")) => parse(link, argv).map(Chosen::Master),
        Some((link, "minion")) => parse(link, argv).map(Chosen::Minion),
        Some((link, "salt")) => parse(link, argv).map(Box::new).map(Chosen::Salt),
        Some((link, "key")) => parse(link, argv).map(Chosen::Key),
        Some((link, "call")) => parse(link, argv).map(Chosen::Call),
        Some((link, "run")) => parse(link, argv).map(Chosen::Run),
        Some((link, "cp")) => parse(link, argv).map(Chosen::Cp),
        _ => read::<Saltern>(Saltern::command(), argv).map(Chosen::from),
    }
    .or_else(Parsed::into_result)
}

enum Parsed {
    Help(String),
    Wrong(String),
}

impl Parsed {
    fn into_result(self) -> Result<Chosen, Failure> {
        match self {
            Parsed::Help(text) => Ok(Chosen::Print(text)),
            Parsed::Wrong(text) => Err(Failure::usage(text.trim_end())),
        }
    }
}

fn parse<T: clap::Args>(name: &'static str, argv: Vec<OsString>) -> Result<T, Parsed> {
    // `--versions-report` has no versions of libraries to tell of: there is one executable.
    let version = clap::Arg::new("version")
        .short('V')
        .long("version")
        .visible_alias("versions-report")
        .action(clap::ArgAction::Version)
        .help("Print version");
    let command = clap::Command::new(name)
        .version(crate::args::VERSION)
        .disable_version_flag(true)
        .arg(version);
    read(T::augment_args(command), argv)
}

fn read<T: FromArgMatches>(command: clap::Command, argv: Vec<OsString>) -> Result<T, Parsed> {
    let parsed =
        command.try_get_matches_from(argv).and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let text = error.render().to_string();
        if error.use_stderr() { Parsed::Wrong(text) } else { Parsed::Help(text) }
    })
}

impl From<Saltern> for Chosen {
    fn from(parsed: Saltern) -> Self {
        match parsed {
            Saltern::Master(args) => Chosen::Master(args),
            Saltern::Minion(args) => Chosen::Minion(args),
            Saltern::Salt(args) => Chosen::Salt(args),
            Saltern::Key(args) => Chosen::Key(args),
            Saltern::Call(args) => Chosen::Call(args),
            Saltern::Run(args) => Chosen::Run(args),
            Saltern::Cp(args) => Chosen::Cp(args),
            Saltern::Links(args) => Chosen::Links(args),
            Saltern::Config(args) => Chosen::Config(args),
            Saltern::Demo(args) => Chosen::Demo(args),
            Saltern::Swarm(args) => Chosen::Swarm(args),
        }
    }
}

impl Chosen {
    /// Is that program until it ends; returns the exit code.
    pub(crate) fn run(self) -> Result<i32, Failure> {
        match self {
            Chosen::Master(args) => commands::master::run(args),
            Chosen::Minion(args) => commands::minion::run(args),
            Chosen::Salt(args) => commands::salt::run(*args),
            Chosen::Key(args) => commands::salt_key::run(*args),
            Chosen::Call(args) => commands::salt_call::run(args),
            Chosen::Run(args) => commands::salt_run::run(args),
            Chosen::Cp(args) => commands::salt_cp::run(args),
            Chosen::Links(args) => commands::links::run(&args),
            Chosen::Config(args) => commands::config::run(&args),
            Chosen::Demo(args) => crate::demo::run(args),
            Chosen::Swarm(args) => commands::swarm::run(&args),
            Chosen::Print(text) => {
                crate::printer::line(text.trim_end())?;
                Ok(exit::OK)
            }
        }
    }
}
