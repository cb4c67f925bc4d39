//! Logging of a program: what the configuration says, with the command line on top.

use std::path::PathBuf;
use std::str::FromStr;

use saltern_base::log::{self, Level, Settings};
use saltern_value::{Map, Value};

use crate::args::Logging;
use crate::exit::Failure;

/// Starts logging for a daemon: console and log file.
///
/// # Errors
/// A log file that cannot be opened, or a level that does not exist.
pub(crate) fn daemon(raw: &Map, args: &Logging) -> Result<(), Failure> {
    let file = args.files.log_file.clone().or_else(|| text(raw, "log_file")).unwrap_or_default();
    start(raw, args, Some(PathBuf::from(file)).filter(|f| !f.as_os_str().is_empty()))
}

/// Starts logging for a tool: the console only, so that a user who may not write the daemon's log
/// file can still use the tool; `--log-file` asks for a file.
///
/// # Errors
/// As [`daemon`].
pub(crate) fn tool(raw: &Map, args: &Logging) -> Result<(), Failure> {
    start(raw, args, args.files.log_file.as_ref().map(PathBuf::from))
}

/// Tells what is odd about a configuration, once.
pub(crate) fn warnings(warnings: &[String]) {
    for warning in warnings {
        ::log::warn!("{warning}");
    }
}

/// Tells what is set but has nothing to change here, and why, once.
pub(crate) fn notes(notes: &[String]) {
    for note in notes {
        ::log::info!("{note}");
    }
}

fn start(raw: &Map, args: &Logging, file: Option<PathBuf>) -> Result<(), Failure> {
    let console_level = level(raw, args.log_level.as_deref(), "log_level")?;
    let file_level = level(raw, args.files.log_file_level.as_deref(), "log_level_logfile")
        .or_else(|e| {
            if raw.get("log_level_logfile").is_none_or(|v| v.is_nil()) {
                level(raw, None, "log_level")
            } else {
                Err(e)
            }
        })?;
    let format = |name: &str, default: &str| text(raw, name).unwrap_or_else(|| default.to_owned());
    let date = format("log_datefmt", "%H:%M:%S");
    let settings = Settings {
        console_level,
        console_format: format("log_fmt_console", "[%(levelname)-8s] %(message)s"),
        console_datefmt: text(raw, "log_datefmt_console").unwrap_or(date),
        color: raw.get("color").is_none_or(|c| c.truthy()),
        file,
        file_level,
        file_format: format(
            "log_fmt_logfile",
            "%(asctime)s,%(msecs)03d [%(name)-17s:%(lineno)-4d][%(levelname)-8s][%(process)d] \
             %(message)s",
        ),
        file_datefmt: format("log_datefmt_logfile", "%Y-%m-%d %H:%M:%S"),
        granular: granular(raw)?,
        rotate_bytes: number(raw, "log_rotate_max_bytes"),
        rotate_keep: u32::try_from(number(raw, "log_rotate_backup_count")).unwrap_or(u32::MAX),
    };
    log::init(settings).map_err(|e| Failure::generic(e.to_string()))
}

fn granular(raw: &Map) -> Result<Vec<(String, Level)>, Failure> {
    let Some(map) = raw.get("log_granular_levels").and_then(|v| v.as_map()) else {
        return Ok(Vec::new());
    };
    map.iter()
        .filter_map(|(name, level)| Some((name.as_str()?, level.as_str()?)))
        .map(|(name, level)| Ok((name.to_owned(), parse(level, "log_granular_levels")?)))
        .collect()
}

fn level(raw: &Map, argument: Option<&str>, option: &str) -> Result<Level, Failure> {
    match argument.map(str::to_owned).or_else(|| text(raw, option)) {
        Some(name) => parse(&name, option),
        None => Ok(Level::Warning),
    }
}

fn parse(name: &str, option: &str) -> Result<Level, Failure> {
    Level::from_str(&name.to_lowercase()).map_err(|_| {
        Failure::usage(format!("{option}: there is no log level '{name}'")).hint(
            "use one of all, garbage, trace, debug, profile, info, warning, error, critical, quiet",
        )
    })
}

fn number(raw: &Map, name: &str) -> u64 {
    raw.get(name).and_then(Value::as_int).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

fn text(raw: &Map, name: &str) -> Option<String> {
    raw.get_str(name).map(str::to_owned)
}
