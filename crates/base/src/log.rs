//! Logging as Salt does it: its levels, its line formats, a console and a log file.

use std::io;
use std::path::PathBuf;

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

/// What to log where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Least severity on the console (standard error); `Quiet` turns it off.
    pub console_level: Level,
    /// `log_fmt_console`.
    pub console_format: String,
    /// `log_datefmt`.
    pub console_datefmt: String,
    /// Colours on the console when it is a terminal.
    pub color: bool,
    /// `log_file`; `None` or an empty path: no file.
    pub file: Option<PathBuf>,
    /// Least severity in the file.
    pub file_level: Level,
    /// `log_fmt_logfile`.
    pub file_format: String,
    /// `log_datefmt_logfile`.
    pub file_datefmt: String,
    /// `log_granular_levels`: log name (a prefix, parts separated by `.` or `::`) to severity.
    pub granular: Vec<(String, Level)>,
}

/// Starts (or restarts, with other settings) logging for the process.
///
/// # Errors
/// The log file cannot be opened; the message names path and option. Console logging is set up
/// all the same.
pub fn init(settings: Settings) -> io::Result<()> {
    let _ = settings;
    todo!()
}
