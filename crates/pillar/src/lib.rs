//! Pillar: compiles the private data of one minion from `pillar_roots` (top file and SLS files,
//! YAML). The core reads files through a trait, so it is tested without a disk.

mod compile;
mod files;
mod merge;
mod render;
mod sls;
#[cfg(test)]
mod tests;
mod top;

pub use compile::{Compiler, Request, Settings};
pub use files::{DiskFiles, Files, Sls};
pub use merge::MergeStrategy;
pub use render::{Parsed, RenderError, Renderer};
