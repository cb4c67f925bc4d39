//! Pillar: compiles the private data of one minion from `pillar_roots` (top file and SLS files,
//! YAML). The core reads files through a trait, so it is tested without a disk.

mod compile;
mod files;

pub use compile::{Compiler, MergeStrategy, Request, Settings, TopMerge};
pub use files::{DiskFiles, Files};
