//! The single matchers: each looks at the id, at the grains or at the pillar.

use std::collections::HashSet;

use saltern_value::Map;

use crate::ip::IpTarget;
use crate::path::{Mode, PathPattern};
use crate::{Glob, Reads, Regex, Subject, TargetError};

/// Which data a path target looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Grains,
    Pillar,
}

/// Ids to look up, in the order they were written.
#[derive(Debug)]
pub(crate) struct Ids {
    order: Vec<String>,
    set: HashSet<String>,
}

impl Ids {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }
}

/// One compiled matcher.
#[derive(Debug)]
pub(crate) enum Matcher {
    Never,
    Glob(Glob),
    Pcre(Regex),
    List(Ids),
    Path(Part, PathPattern),
    Ip(IpTarget),
}

impl Matcher {
    pub(crate) fn glob(pattern: &str) -> Self {
        Matcher::Glob(Glob::new(pattern))
    }

    pub(crate) fn pcre(pattern: &str) -> Result<Self, TargetError> {
        Regex::new(pattern).map(Matcher::Pcre)
    }

    pub(crate) fn list<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        let order: Vec<String> = ids
            .filter(|id| !id.is_empty() && seen.insert((*id).to_owned()))
            .map(str::to_owned)
            .collect();
        Matcher::List(Ids { order, set: seen })
    }

    pub(crate) fn path(part: Part, expr: &str, delimiter: &str, mode: Mode) -> Self {
        PathPattern::new(expr, delimiter, mode).map_or(Matcher::Never, |p| Matcher::Path(part, p))
    }

    pub(crate) fn ip(text: &str) -> Result<Self, TargetError> {
        IpTarget::parse(text).map(Matcher::Ip)
    }

    /// `greedy`: what the answer depends on and is not known counts as matching.
    /// Notes what of a minion has to be known to answer.
    pub(crate) fn reads<'a>(&'a self, reads: &mut Reads<'a>) {
        match self {
            Matcher::Never | Matcher::Glob(_) | Matcher::Pcre(_) | Matcher::List(_) => {}
            Matcher::Path(Part::Grains, path) => {
                reads.grains = true;
                match path.root() {
                    Some(key) => reads.keys.push(key),
                    None => reads.all_grains = true,
                }
            }
            Matcher::Path(Part::Pillar, _) => reads.pillar = true,
            Matcher::Ip(_) => {
                reads.grains = true;
                reads.keys.extend(["ipv4", "ipv6"]);
            }
        }
    }

    pub(crate) fn matches(&self, subject: &Subject<'_>, greedy: bool) -> bool {
        let known = |part: Option<&Map>, test: &dyn Fn(&Map) -> bool| part.map_or(greedy, test);
        match self {
            Matcher::Never => false,
            Matcher::Glob(glob) => glob.matches(subject.id),
            Matcher::Pcre(regex) => regex.matches(subject.id),
            Matcher::List(ids) => ids.set.contains(subject.id),
            Matcher::Path(Part::Grains, path) => known(subject.grains, &|m| path.matches(m)),
            Matcher::Path(Part::Pillar, path) => known(subject.pillar, &|m| path.matches(m)),
            Matcher::Ip(ip) => known(subject.grains, &|m| ip.matches(m)),
        }
    }
}
