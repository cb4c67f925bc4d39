//! Which minions a target means: Salt's matchers (wire-protocol §6.4).
//!
//! An [`Expression`] is compiled once and asked for many minions. It is pure: what is known of a
//! minion comes in a [`Subject`].

use saltern_value::{Map, Value};

/// What is known of one minion.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The minion's id.
    pub id: &'a str,
    /// Its grains; `None` when they are not known (a master without cached data).
    pub grains: Option<&'a Map>,
    /// Its pillar; `None` when it is not known.
    pub pillar: Option<&'a Map>,
}

/// What an expression is read with.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Between the levels of a grain or pillar path.
    pub delimiter: &'a str,
    /// Configured node groups, for `N@` words.
    pub nodegroups: Option<&'a Map>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { delimiter: ":", nodegroups: None }
    }
}

/// Why a target can match nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// No matcher of that name (Salt drops such a job silently).
    UnknownType(String),
    /// A word list that is no expression, a bad regular expression, an address that is none...
    Invalid(String),
}

impl std::fmt::Display for TargetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetError::UnknownType(t) => write!(f, "there is no target type {t:?}"),
            TargetError::Invalid(m) => f.write_str(m),
        }
    }
}

impl std::error::Error for TargetError {}

/// A compiled target.
#[derive(Debug)]
pub struct Expression(());

impl Expression {
    /// Reads a target of any type of [wire-protocol §6.4], plus `pillar_exact` and
    /// `compound_pillar_exact`. A `nodegroup` matches nobody, as on a minion: the publisher
    /// expands it, see [`Expression::nodegroup`].
    pub fn parse(_tgt_type: &str, _tgt: &Value, _o: &Options<'_>) -> Result<Self, TargetError> {
        todo!()
    }

    /// The compound expression a node group stands for.
    pub fn nodegroup(_name: &str, _nodegroups: &Map) -> Result<Self, TargetError> {
        todo!()
    }

    /// Whether the minion is meant; unknown data is no match.
    #[must_use]
    pub fn matches(&self, _subject: &Subject<'_>) -> bool {
        todo!()
    }

    /// Whether the minion may be meant: where the data it takes is unknown, it counts as matching
    /// (how a master finds the minions to expect).
    #[must_use]
    pub fn matches_greedy(&self, _subject: &Subject<'_>) -> bool {
        todo!()
    }

    /// The ids a list target (also `L@` in a compound, not behind `not`) names, so that a master
    /// can tell which of them it does not know.
    #[must_use]
    pub fn listed_ids(&self) -> Vec<&str> {
        todo!()
    }
}

/// Whether a minion is meant; a target that cannot be read matches nobody.
#[must_use]
pub fn matches(tgt_type: &str, tgt: &Value, options: &Options<'_>, subject: &Subject<'_>) -> bool {
    Expression::parse(tgt_type, tgt, options).is_ok_and(|e| e.matches(subject))
}

/// The words of the compound expression a node group stands for, nested groups expanded.
pub fn expand_nodegroup(_name: &str, _nodegroups: &Map) -> Result<Vec<String>, TargetError> {
    todo!()
}

/// A shell glob as Python's `fnmatch` reads it.
#[derive(Clone, Debug)]
pub struct Glob(());

impl Glob {
    /// Compiles a pattern; every text is one.
    #[must_use]
    pub fn new(_pattern: &str) -> Self {
        todo!()
    }

    /// Whether the whole text matches; upper and lower case differ.
    #[must_use]
    pub fn matches(&self, _text: &str) -> bool {
        todo!()
    }
}

/// Salt's `expr_match`, for white and black lists: glob or regular expression, on the whole text.
#[must_use]
pub fn expr_match(_text: &str, _expr: &str) -> bool {
    todo!()
}
