//! Reading the files of a configuration in Salt's order, and what becomes of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use saltern_value::Map;

use crate::error::{ConfigError, Place};
use crate::master::MasterOptions;
use crate::minion::MinionOptions;

/// Where each option was set: name of the option to file and line. The last file wins.
pub type Sources = HashMap<String, Place>;

/// A configuration, read and checked.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The typed options.
    pub opts: T,
    /// Every option, defaults and unknown ones included, as `config.get` sees them.
    pub raw: Map,
    /// One sentence for each thing that is odd but no error: unknown options, options without
    /// effect, former names. The program logs them once at level warning.
    pub warnings: Vec<String>,
    /// Where the options were set.
    pub sources: Sources,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// Reads the master's configuration: `path` is the `-c` directory or the main file.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used; a missing main file is none.
pub fn load_master(path: &Path) -> Result<Loaded<MasterOptions>, ConfigError> {
    let _ = path;
    todo!()
}

/// Reads the minion's configuration: `path` is the `-c` directory or the main file. The id is
/// found out when it is not set (which may look up host names) and kept as `minion_id_caching`
/// says.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used; a missing main file is none.
pub fn load_minion(path: &Path) -> Result<Loaded<MinionOptions>, ConfigError> {
    let _ = path;
    todo!()
}
