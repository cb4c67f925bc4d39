//! The modules. To add one: a file (or folder) here with a `MODULE` table, and its line below.

use crate::registry::Module;

mod test;

/// Every module, in the order of their names.
pub(crate) static MODULES: &[&Module] = &[&test::MODULE];
