//! Where SLS files come from.

use std::path::PathBuf;
use std::sync::Arc;

use saltern_value::Value;

/// A parsed SLS file, or the sentence why it is none.
pub type Parsed = Result<Value, String>;

/// Reads SLS files of an environment. The compiler asks for relative paths (`top.sls`,
/// `web/init.sls`); the reader keeps them inside of the roots.
pub trait Files: Send + Sync {
    /// The names of the environments, in their order.
    fn envs(&self) -> Vec<String>;
    /// The parsed file and its absolute path, or `None` when no root of the environment has it.
    fn read(&self, saltenv: &str, path: &str) -> Option<(PathBuf, Arc<Parsed>)>;
}

/// [`Files`] on disk, with a bounded cache of parsed files by path, time and size.
#[derive(Debug)]
pub struct DiskFiles {}

impl DiskFiles {
    /// Reads below these `pillar_roots`; the environment `__env__` serves every one not named.
    #[must_use]
    pub fn new(_roots: Vec<(String, Vec<PathBuf>)>) -> Self {
        todo!()
    }
}

impl Files for DiskFiles {
    fn envs(&self) -> Vec<String> {
        todo!()
    }

    fn read(&self, _saltenv: &str, _path: &str) -> Option<(PathBuf, Arc<Parsed>)> {
        todo!()
    }
}
