//! `-c`, logging, version.

use std::env;
use std::path::PathBuf;

use clap::Args;

/// What `--version` prints behind the program's name.
pub(crate) const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (Saltern, wire protocol 3 of Salt)");

/// Where the configuration is.
#[derive(Args, Debug, Clone)]
pub(crate) struct Common {
    /// Pass in an alternative configuration directory
    #[arg(short = 'c', long, value_name = "CONFIG_DIR")]
    config_dir: Option<PathBuf>,
}

impl Common {
    /// The directory of the configuration files: the option, `SALT_CONFIG_DIR`, `/etc/salt`.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.config_dir
            .clone()
            .or_else(|| env::var_os("SALT_CONFIG_DIR").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("/etc/salt"))
    }
}

/// Logging, over what the configuration says.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Logging Options")]
pub(crate) struct Logging {
    /// Console logging level: all, garbage, trace, debug, profile, info, warning, error, critical
    /// or quiet. The levels below info may show sensitive data
    #[arg(short = 'l', long, value_name = "LOG_LEVEL")]
    pub(crate) log_level: Option<String>,
    #[command(flatten)]
    pub(crate) files: LogFile,
}

/// The log file, over what the configuration says.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Logging Options")]
pub(crate) struct LogFile {
    /// Log file path
    #[arg(long, value_name = "LOG_FILE")]
    pub(crate) log_file: Option<String>,
    /// Logfile logging level
    #[arg(long, value_name = "LOG_LEVEL_LOGFILE")]
    pub(crate) log_file_level: Option<String>,
}
