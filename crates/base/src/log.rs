//! Logging as Salt does it: its levels, its line formats, a console and a log file.
//!
//! Everyone logs with the macros of the `log` crate. A line with `target: "critical"`,
//! `"profile"` or `"garbage"` has that severity; the log name of the others is the module, with
//! `salt.` for our crates' prefix so that `log_granular_levels` of existing files fit.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Once, PoisonError, RwLock};
use std::time::SystemTime;

use log::{LevelFilter, Log, Metadata, Record};

use crate::log_file::LogFile;
use crate::log_format::{Format, Line};

/// Salt's severities, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    All,
    /// Garbage (1).
    Garbage,
    /// Trace (5).
    Trace,
    /// Debug (10).
    Debug,
    /// Profile (15).
    Profile,
    /// Info (20).
    Info,
    /// Warning (30).
    Warning,
    /// Error (40).
    Error,
    /// Critical (50).
    Critical,
    /// Nothing at all.
    Quiet,
}

impl Level {
    /// All levels, least first, with Salt's names for `-l`.
    pub const NAMES: [(&'static str, Level); 10] = [
        ("all", Level::All),
        ("garbage", Level::Garbage),
        ("trace", Level::Trace),
        ("debug", Level::Debug),
        ("profile", Level::Profile),
        ("info", Level::Info),
        ("warning", Level::Warning),
        ("error", Level::Error),
        ("critical", Level::Critical),
        ("quiet", Level::Quiet),
    ];

    /// The level of that name, in either case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::All => "NOTSET",
            Level::Garbage => "GARBAGE",
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Profile => "PROFILE",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
            Level::Quiet => "QUIET",
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            Level::All => 0,
            Level::Garbage => 1,
            Level::Trace => 5,
            Level::Debug => 10,
            Level::Profile => 15,
            Level::Info => 20,
            Level::Warning => 30,
            Level::Error => 40,
            Level::Critical => 50,
            Level::Quiet => 1000,
        }
    }

    pub(crate) fn color(self) -> &'static str {
        match self {
            Level::Critical | Level::Error => "1;31",
            Level::Warning => "1;33",
            Level::Info => "1;32",
            Level::Profile | Level::Debug => "1;36",
            Level::Trace => "1;35",
            Level::Garbage => "1;34",
            Level::All | Level::Quiet => "",
        }
    }

    pub(crate) fn message_color(self) -> &'static str {
        match self {
            Level::Critical => "1;31",
            Level::Error => "31",
            Level::Warning => "33",
            Level::Info => "32",
            Level::Profile | Level::Debug => "36",
            Level::Trace => "35",
            Level::Garbage => "34",
            Level::All | Level::Quiet => "",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Level::All | Level::Garbage | Level::Trace => LevelFilter::Trace,
            Level::Debug | Level::Profile => LevelFilter::Debug,
            Level::Info => LevelFilter::Info,
            Level::Warning => LevelFilter::Warn,
            Level::Error | Level::Critical => LevelFilter::Error,
            Level::Quiet => LevelFilter::Off,
        }
    }

    fn of(metadata: &Metadata<'_>) -> Self {
        match (metadata.target(), metadata.level()) {
            ("critical", _) => Level::Critical,
            ("profile", _) => Level::Profile,
            ("garbage", _) => Level::Garbage,
            (_, log::Level::Error) => Level::Error,
            (_, log::Level::Warn) => Level::Warning,
            (_, log::Level::Info) => Level::Info,
            (_, log::Level::Debug) => Level::Debug,
            (_, log::Level::Trace) => Level::Trace,
        }
    }
}

/// A text that names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Level::NAMES.map(|(name, _)| name).join(", ");
        write!(f, "a log level is one of {names}")
    }
}

impl std::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        Level::parse(name).ok_or(UnknownLevel)
    }
}

/// What to log where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Least severity on the console (standard error); `Quiet` turns it off.
    pub console_level: Level,
    /// `log_fmt_console`.
    pub console_format: String,
    /// `log_datefmt`.
    pub console_datefmt: String,
    /// Colours in the `color*` fields when the console is a terminal.
    pub color: bool,
    /// `log_file`; `None` or an empty path: no file.
    pub file: Option<PathBuf>,
    /// Least severity in the file.
    pub file_level: Level,
    /// `log_fmt_logfile`.
    pub file_format: String,
    /// `log_datefmt_logfile`.
    pub file_datefmt: String,
    /// `log_granular_levels`: log name (itself and what is below it) to severity.
    pub granular: Vec<(String, Level)>,
    /// `log_rotate_max_bytes`: size at which the file is set aside; 0: never.
    pub rotate_bytes: u64,
    /// `log_rotate_backup_count`: how many files set aside are kept.
    pub rotate_keep: u32,
}

impl Default for Settings {
    /// Warnings on the console in Salt's format, no file: what holds until a configuration is
    /// read.
    fn default() -> Self {
        Settings {
            console_level: Level::Warning,
            console_format: "[%(levelname)-8s] %(message)s".to_owned(),
            console_datefmt: "%H:%M:%S".to_owned(),
            color: true,
            file: None,
            file_level: Level::Warning,
            file_format: "%(asctime)s,%(msecs)03d [%(name)-17s:%(lineno)-4d][%(levelname)-8s]\
                          [%(process)d] %(message)s"
                .to_owned(),
            file_datefmt: "%Y-%m-%d %H:%M:%S".to_owned(),
            granular: Vec::new(),
            rotate_bytes: 0,
            rotate_keep: 0,
        }
    }
}

struct Active {
    console_level: Level,
    console: Format,
    color: bool,
    file_level: Level,
    file_format: Format,
    file: Option<LogFile>,
    granular: Vec<(String, Level)>,
}

struct Logger {
    active: RwLock<Option<Arc<Active>>>,
}

static LOGGER: Logger = Logger { active: RwLock::new(None) };

/// Starts (or restarts, with other settings) logging for the process.
///
/// # Errors
/// The log file cannot be opened; the message names path and option. The console is set up all
/// the same.
pub fn init(settings: Settings) -> io::Result<()> {
    let opened = match settings.file.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => LogFile::open(path, settings.rotate_bytes, settings.rotate_keep).map(Some),
        None => Ok(None),
    };
    let (file, result) = match opened {
        Ok(file) => (file, Ok(())),
        Err(error) => (None, Err(error)),
    };
    install(Active {
        console_level: settings.console_level,
        console: Format::parse(&settings.console_format, &settings.console_datefmt),
        color: settings.color && io::stderr().is_terminal(),
        file_level: if file.is_some() { settings.file_level } else { Level::Quiet },
        file_format: Format::parse(&settings.file_format, &settings.file_datefmt),
        file,
        granular: settings.granular,
    });
    result
}

/// Changes the least severity on the console (Salt's `-l`).
pub fn set_level(level: Level) {
    if let Some(old) = LOGGER.active() {
        install(Active {
            console_level: level,
            console: old.console.clone(),
            color: old.color,
            file_level: old.file_level,
            file_format: old.file_format.clone(),
            file: old.file.clone(),
            granular: old.granular.clone(),
        });
    }
}

/// Opens the log file again under its name: after SIGHUP, when someone moved it away. (A file
/// that was moved is also noticed at the next line.)
///
/// # Errors
/// The file cannot be opened; lines go on to the former one.
pub fn reopen() -> io::Result<()> {
    LOGGER.active().and_then(|active| active.file.clone()).map_or(Ok(()), |file| file.reopen())
}

fn install(active: Active) {
    static REGISTER: Once = Once::new();
    let levels = active.granular.iter().map(|(_, level)| *level);
    let least =
        levels.chain([active.console_level, active.file_level]).min().unwrap_or(Level::Quiet);
    *LOGGER.active.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(active));
    // A second logger can only be there in tests of other crates; it then stays.
    REGISTER.call_once(|| drop(log::set_logger(&LOGGER)));
    log::set_max_level(least.filter());
}

impl Logger {
    fn active(&self) -> Option<Arc<Active>> {
        self.active.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(active) = self.active() {
            active.log(record);
        }
    }

    fn flush(&self) {}
}

impl Active {
    fn log(&self, record: &Record<'_>) {
        let level = Level::of(record.metadata());
        let module = record.module_path().unwrap_or(record.target());
        let name = log_name(match record.target() {
            "critical" | "profile" | "garbage" => module,
            target => target,
        });
        let least = granular(&self.granular, &name);
        let to_console =
            level >= least.unwrap_or(self.console_level) && self.console_level != Level::Quiet;
        let to_file = self.file.as_ref().filter(|_| level >= least.unwrap_or(self.file_level));
        if !to_console && to_file.is_none() {
            return;
        }
        let message = record.args().to_string();
        let line = Line {
            level,
            name: &name,
            module,
            file: record.file().unwrap_or_default(),
            line: record.line().unwrap_or(0),
            message: &message,
            jid: record.key_values().get("jid".into()).map(|v| v.to_string()),
            time: SystemTime::now(),
        };
        // Nobody is left to tell when the console or the disk does not take a line.
        if to_console {
            let text = self.console.print(&line, self.color) + "\n";
            let _ = io::stderr().write_all(text.as_bytes());
        }
        if let Some(file) = to_file {
            file.write((self.file_format.print(&line, false) + "\n").as_bytes());
        }
    }
}

/// `saltern_minion::sign_in` is `salt.minion.sign_in`.
fn log_name(module: &str) -> Cow<'_, str> {
    let ours = module.strip_prefix("saltern_").or_else(|| module.strip_prefix("saltern::"));
    if let Some(rest) = ours {
        Cow::Owned(format!("salt.{}", rest.replace("::", ".")))
    } else if module.contains("::") {
        Cow::Owned(module.replace("::", "."))
    } else {
        Cow::Borrowed(module)
    }
}

fn granular(levels: &[(String, Level)], name: &str) -> Option<Level> {
    let covers = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    levels.iter().filter(|(p, _)| covers(p)).max_by_key(|(p, _)| p.len()).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order() {
        assert_eq!(Level::parse("WARNING"), Some(Level::Warning));
        assert_eq!(Level::parse("loud"), None);
        assert!("loud".parse::<Level>().unwrap_err().to_string().contains("critical, quiet"));
        assert!(Level::NAMES.windows(2).all(|w| w[0].1 < w[1].1));
    }

    #[test]
    fn log_names_are_salts() {
        assert_eq!(log_name("saltern_minion::sign_in"), "salt.minion.sign_in");
        assert_eq!(log_name("saltern::commands"), "salt.commands");
        assert_eq!(log_name("tokio::net"), "tokio.net");
        let levels = [("salt".to_owned(), Level::Error), ("salt.minion".to_owned(), Level::Debug)];
        assert_eq!(granular(&levels, "salt.minion.sign_in"), Some(Level::Debug));
        assert_eq!(granular(&levels, "salt.minionfs"), Some(Level::Error));
        assert_eq!(granular(&levels, "saltier"), None);
    }
}
