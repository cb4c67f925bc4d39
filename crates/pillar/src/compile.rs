//! From top file to pillar.

use saltern_base::MinionId;
use saltern_value::{Map, Value};

use crate::files::Files;

/// `pillar_source_merging_strategy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStrategy {
    /// Mappings are merged deeply (`smart`, the default: recurse for YAML).
    #[default]
    Smart,
    /// Mappings are merged deeply.
    Recurse,
    /// Later sources replace whole top-level keys.
    Overwrite,
    /// Values of the same key are put under lists.
    Aggregate,
    /// Nothing is merged: the last source wins as a whole.
    None,
}

/// `pillar_merge_...` and `top_file_merging_strategy`: how the top files of environments combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopMerge {
    /// Every environment counts (the default).
    #[default]
    Merge,
    /// Only the minion's own environment counts.
    Same,
}

/// How pillar is compiled (the master's options of the same names).
#[derive(Clone, Debug)]
pub struct Settings {
    /// `pillar_source_merging_strategy`
    pub merge: MergeStrategy,
    /// `pillar_merge_lists`
    pub merge_lists: bool,
    /// `top_file_merging_strategy`
    pub top_merge: TopMerge,
    /// `state_top`, usually `top.sls`.
    pub top_name: String,
    /// `default_top`, usually `base`.
    pub default_top: String,
    /// `env_order`
    pub env_order: Vec<String>,
    /// `pillar_safe_render_error`: errors in the pillar do not show what the files hold.
    pub safe_render_error: bool,
    /// `pillar_opts`: when set, this mapping (the master's options) is put under `master`.
    pub master_opts: Option<Map>,
    /// `nodegroups`, for top-file targets.
    pub nodegroups: Map,
    /// `ext_pillar` as configured: not empty = refused with one warning.
    pub ext_pillar: Vec<Value>,
}

/// Whose pillar, and what the minion says about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The minion.
    pub id: &'a MinionId,
    /// Its grains, as sent with the request.
    pub grains: &'a Map,
    /// `saltenv`
    pub saltenv: Option<&'a str>,
    /// `pillarenv`: only this environment.
    pub pillarenv: Option<&'a str>,
    /// `pillar_override`: merged over the result.
    pub pillar_override: Option<&'a Map>,
}

/// Compiles pillars. `Send + Sync`; blocks on the disk.
#[derive(Debug)]
pub struct Compiler<F> {
    files: F,
}

impl<F: Files> Compiler<F> {
    /// A compiler over these files.
    pub fn new(_files: F, _settings: Settings) -> Self {
        todo!()
    }

    /// The pillar of a minion. Errors stand under `_errors`, a list of sentences.
    #[must_use]
    pub fn compile(&self, _request: &Request<'_>) -> Map {
        todo!()
    }
}
