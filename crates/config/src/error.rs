//! Why a configuration cannot be used, in one sentence for the one who wrote it.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A file that is there but cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file that is no YAML mapping.
    Malformed {
        /// The file.
        file: PathBuf,
        /// Line (1-based), when known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// An option of another type than it must have.
    WrongType {
        /// Where it was set; `None` for a value that was computed.
        place: Option<Place>,
        /// The option.
        option: String,
        /// What it has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// An option whose value is of the right type but cannot be used.
    Refused {
        /// Where it was set; `None` for a default.
        place: Option<Place>,
        /// The option.
        option: String,
        /// Why, and the way out.
        reason: String,
    },
}

/// Where an option was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line (1-based) of its name; 0 when unknown.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{} line {line}", self.file.display()),
        }
    }
}

impl ConfigError {
    /// The exit status Salt's programs end with: 1 for files that cannot be read as a
    /// configuration, and for a `master_type` that is none; 64 (usage) for values they refuse.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            ConfigError::Refused { option, .. } if option != "master_type" => 64,
            _ => 1,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |f: &mut fmt::Formatter<'_>, place: &Option<Place>| match place {
            Some(place) => write!(f, "{place}: "),
            None => Ok(()),
        };
        match self {
            ConfigError::Unreadable { file, reason } => {
                write!(f, "configuration file {} cannot be read: {reason}", file.display())
            }
            ConfigError::Malformed { file, line: Some(line), reason } => {
                write!(f, "configuration file {} line {line}: {reason}", file.display())
            }
            ConfigError::Malformed { file, line: None, reason } => {
                write!(f, "configuration file {}: {reason}", file.display())
            }
            ConfigError::WrongType { place, option, expected, found } => {
                at(f, place)?;
                write!(f, "option '{option}' is {found}, but {expected} is required")
            }
            ConfigError::Refused { place, option, reason } => {
                at(f, place)?;
                write!(f, "option '{option}': {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}
