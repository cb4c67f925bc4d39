//! The file in which jobs that were added at run time survive: `_schedule.conf` beside the other
//! parts of the minion's configuration, as in Salt, so that the next start reads it with them.

use std::io;
use std::path::{Path, PathBuf};

use saltern_base::atomic_file;
use saltern_config::MinionOptions;
use saltern_value::{Map, Value, yaml};

/// Where it is.
pub(crate) fn place(opts: &MinionOptions) -> PathBuf {
    let top = opts.conf_file.parent().unwrap_or(Path::new("/etc/salt"));
    let dir = Path::new(&opts.default_include).parent().unwrap_or(Path::new("minion.d"));
    top.join(dir).join("_schedule.conf")
}

/// Writes the jobs of the configuration, never those of a pillar.
pub(crate) fn write(path: &Path, jobs: &Map) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let text = yaml::dump(&Value::Map(Map::from([("schedule", Value::Map(jobs.clone()))])));
    // Arguments of jobs may be secret.
    atomic_file::write(path, text.as_bytes(), 0o600)
}
