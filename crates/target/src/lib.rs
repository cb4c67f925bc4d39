//! Which minions a target means: Salt's matchers (wire-protocol §6.4).
//!
//! An [`Expression`] is compiled once and asked for many minions. It is pure: what is known of a
//! minion comes in a [`Subject`]. No pattern and no data make a match run away: regular expressions
//! and wildcards have a bound on their steps.

mod compound;
mod glob;
mod ip;
mod matcher;
mod nodegroup;
mod path;
mod regex;

use saltern_value::{Map, Value};

use compound::Node;
use matcher::{Matcher, Part};
use path::Mode;

pub use glob::Glob;
pub use nodegroup::{expand_compound, expand_nodegroup};
pub use regex::{Regex, translate};

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
    /// Between the levels of a `grain`, `grain_pcre` or `pillar` path; the other types take no
    /// delimiter but `:`, as on Salt's minions.
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

/// What of a minion has to be known to tell whether a target means it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads<'a> {
    /// Its grains, or some of them.
    pub grains: bool,
    /// Any grain may be looked at; otherwise only those in `keys`, and those whose key is no text.
    pub all_grains: bool,
    /// Names of grains, sorted.
    pub keys: Vec<&'a str>,
    /// Its pillar.
    pub pillar: bool,
}

/// A compiled target.
#[derive(Debug)]
pub struct Expression(Node);

impl Expression {
    /// Reads a target of any type of wire-protocol §6.4, plus `pillar_exact` and
    /// `compound_pillar_exact`. A `nodegroup` matches nobody, as on a minion: the publisher
    /// expands it, see [`Expression::nodegroup`].
    pub fn parse(tgt_type: &str, tgt: &Value, options: &Options<'_>) -> Result<Self, TargetError> {
        if tgt_type == "compound" || tgt_type == "compound_pillar_exact" {
            let exact = tgt_type == "compound_pillar_exact";
            return compound::parse(words(tgt)?, options, exact).map(Expression);
        }
        if tgt_type == "list" {
            return Ok(Expression(Node::Leaf(list(tgt)?)));
        }
        let path = |part, delimiter, mode| {
            text(tgt_type, tgt).map(|expr| Matcher::path(part, expr, delimiter, mode))
        };
        let matcher = match tgt_type {
            "glob" => Matcher::glob(text(tgt_type, tgt)?),
            "pcre" => Matcher::pcre(text(tgt_type, tgt)?)?,
            "grain" => path(Part::Grains, options.delimiter, Mode::Glob)?,
            "grain_pcre" => path(Part::Grains, options.delimiter, Mode::Pcre)?,
            "pillar" => path(Part::Pillar, options.delimiter, Mode::Glob)?,
            "pillar_pcre" => path(Part::Pillar, ":", Mode::Pcre)?,
            "pillar_exact" => path(Part::Pillar, ":", Mode::Exact)?,
            "ipcidr" => Matcher::ip(text(tgt_type, tgt)?)?,
            "nodegroup" => Matcher::Never,
            other => return Err(TargetError::UnknownType(other.to_owned())),
        };
        Ok(Expression(Node::Leaf(matcher)))
    }

    /// The compound expression a node group stands for.
    pub fn nodegroup(name: &str, nodegroups: &Map) -> Result<Self, TargetError> {
        let options = Options { nodegroups: Some(nodegroups), ..Options::default() };
        compound::parse(expand_nodegroup(name, nodegroups)?, &options, false).map(Expression)
    }

    /// Whether the minion is meant; unknown data is no match.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.0.matches(subject, false)
    }

    /// Whether the minion may be meant: a word of which the data is unknown counts as matching (how
    /// a master finds the minions to expect). Pass empty data where it is known to be missing.
    #[must_use]
    pub fn matches_greedy(&self, subject: &Subject<'_>) -> bool {
        self.0.matches(subject, true)
    }

    /// What of a minion has to be known to answer.
    #[must_use]
    pub fn reads(&self) -> Reads<'_> {
        let mut reads = Reads::default();
        self.0.reads(&mut reads);
        reads.keys.sort_unstable();
        reads.keys.dedup();
        reads
    }

    /// The ids a list target (also `L@` in a compound, not behind `not`) names, so that a master
    /// can tell which of them it does not know.
    #[must_use]
    pub fn listed_ids(&self) -> Vec<&str> {
        let mut out = Vec::new();
        self.0.listed(&mut out);
        out
    }
}

fn text<'a>(tgt_type: &str, tgt: &'a Value) -> Result<&'a str, TargetError> {
    tgt.as_str().ok_or_else(|| {
        TargetError::Invalid(format!(
            "a target of type {tgt_type} has to be text, not a {}",
            tgt.type_name()
        ))
    })
}

fn words(tgt: &Value) -> Result<Vec<String>, TargetError> {
    match tgt {
        Value::Str(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        Value::List(items) => {
            items.iter().map(|item| text("compound", item).map(str::to_owned)).collect()
        }
        other => text("compound", other).map(|_| Vec::new()),
    }
}

fn list(tgt: &Value) -> Result<Matcher, TargetError> {
    match tgt {
        Value::List(items) => Ok(Matcher::list(items.iter().filter_map(Value::as_str))),
        other => Ok(Matcher::list(text("list", other)?.split(','))),
    }
}

/// Whether a minion is meant; a target that cannot be read matches nobody.
#[must_use]
pub fn matches(tgt_type: &str, tgt: &Value, options: &Options<'_>, subject: &Subject<'_>) -> bool {
    Expression::parse(tgt_type, tgt, options).is_ok_and(|e| e.matches(subject))
}

/// Salt's `expr_match`, for white and black lists: glob or regular expression, on the whole text.
#[must_use]
pub fn expr_match(text: &str, expr: &str) -> bool {
    Glob::new(expr).matches(text) || Regex::whole(expr).is_ok_and(|regex| regex.matches(text))
}
