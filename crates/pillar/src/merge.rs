//! How two pillar sources become one.

use saltern_value::{Map, merge};

/// `pillar_source_merging_strategy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStrategy {
    /// Mappings are merged deeply (`recurse`; also `smart`, the default, as all sources are YAML).
    #[default]
    Recurse,
    /// Later sources replace whole top-level keys (`overwrite`; also `aggregate`, which joins only
    /// what a `yamlex` file marks, and there are none).
    Overwrite,
    /// Sources are merged deeply, but only the minion's own environment is looked at (`none`).
    None,
}

impl MergeStrategy {
    /// Reads the option; `None` for a strategy Salt does not know either (it then recurses) and
    /// for `list`, with which Salt makes every pillar empty.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "smart" | "recurse" => Some(MergeStrategy::Recurse),
            "overwrite" | "aggregate" => Some(MergeStrategy::Overwrite),
            "none" => Some(MergeStrategy::None),
            _ => None,
        }
    }

    /// Merges `upper` over `lower`; lists are joined with `join_lists` (`pillar_merge_lists`).
    pub(crate) fn merge(self, lower: &mut Map, upper: Map, join_lists: bool) {
        match self {
            MergeStrategy::Overwrite => lower.extend(upper),
            MergeStrategy::Recurse | MergeStrategy::None => merge::deep(lower, upper, join_lists),
        }
    }
}
