//! Which minions a target is expected to mean: accepted keys matched by id, by kept grains and by
//! kept pillar. Minions of which nothing is kept count as meant, as in Salt (trap T18).

use std::sync::Arc;

use saltern_store::cache::DataCache;
use saltern_store::pki::Pki;
use saltern_target::{Expression, Options, Reads, Subject, expand_nodegroup};
use saltern_value::{Map, Value};

/// Resolves targets.
pub(crate) struct Targets {
    pki: Arc<Pki>,
    cache: Arc<DataCache>,
    nodegroups: Map,
    data_cache: bool,
}

/// Who is expected to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Accepted minions that are meant.
    pub(crate) minions: Vec<String>,
    /// Ids that were named but are not accepted here.
    pub(crate) missing: Vec<String>,
    /// Whom the publication has to reach.
    pub(crate) reach: Reach,
}

/// Whom a publication has to reach so that all who are meant get it: minions of which nothing is
/// kept judge for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everybody: all are meant, or only they can tell.
    #[default]
    Everybody,
    /// These ids and no others.
    Minions(Vec<String>),
}

impl Targets {
    /// A resolver; `data_cache` is the option `minion_data_cache`.
    pub(crate) fn new(
        pki: Arc<Pki>,
        cache: Arc<DataCache>,
        nodegroups: Map,
        data_cache: bool,
    ) -> Self {
        Targets { pki, cache, nodegroups, data_cache }
    }

    /// All accepted ids, sorted.
    ///
    /// # Errors
    /// The pki directory's refusal.
    pub(crate) fn accepted(&self) -> Result<Arc<Vec<String>>, String> {
        self.pki.accepted_ids().map_err(|e| e.to_string())
    }

    /// The minions a target means. With `greedy` those of which nothing is kept count as meant.
    ///
    /// # Errors
    /// A target that cannot be read, or the pki directory's refusal.
    pub(crate) fn expected(
        &self,
        tgt: &Value,
        tgt_type: &str,
        delimiter: &str,
        greedy: bool,
    ) -> Result<Expected, String> {
        let expression = self.parse(tgt, tgt_type, delimiter)?;
        let reads = expression.reads();
        let accepted = self.accepted()?;
        let is_accepted = |id: &str| accepted.binary_search_by(|a| a.as_str().cmp(id)).is_ok();
        let listed = expression.listed_ids();
        let missing: Vec<String> =
            listed.iter().filter(|id| !is_accepted(id)).map(|id| (*id).to_owned()).collect();
        let minions: Vec<String> = if tgt_type == "list" {
            // The few that are named need no look at the many that are not.
            let mut named: Vec<&str> = listed.into_iter().filter(|id| is_accepted(id)).collect();
            named.sort_unstable();
            named.dedup();
            named.into_iter().map(str::to_owned).collect()
        } else {
            let fits = |id: &&String| self.fits(&expression, id, &reads, greedy);
            accepted.iter().filter(fits).cloned().collect()
        };
        let reach = if reads.pillar || minions.len() == accepted.len() {
            Reach::Everybody
        } else if reads.grains {
            self.with_unknown(&accepted, &minions)
        } else {
            Reach::Minions(minions.clone())
        };
        Ok(Expected { minions, missing, reach })
    }

    /// `minions`, and those accepted ones whose grains are not kept.
    fn with_unknown(&self, accepted: &[String], minions: &[String]) -> Reach {
        if !self.data_cache {
            return Reach::Everybody;
        }
        let mut meant = minions.iter().peekable();
        let all = accepted.iter().filter(|id| {
            // Both are sorted.
            let is_meant = meant.next_if(|next| next == id).is_some();
            is_meant || !self.cache.has_grains(id)
        });
        Reach::Minions(all.cloned().collect())
    }

    /// Whether a target means this one minion; what is not kept about it does not match.
    pub(crate) fn means(&self, tgt: &Value, tgt_type: &str, id: &str) -> bool {
        self.parse(tgt, tgt_type, ":")
            .is_ok_and(|expression| self.fits(&expression, id, &expression.reads(), false))
    }

    /// What minions are told instead of a node group: they do not know this master's groups.
    ///
    /// # Errors
    /// An unknown group, or one that contains itself.
    pub(crate) fn published_form(
        &self,
        tgt: Value,
        tgt_type: &str,
    ) -> Result<(Value, String), String> {
        let expand = |name: &str| {
            expand_nodegroup(name, &self.nodegroups).map(|w| w.join(" ")).map_err(|e| e.to_string())
        };
        match (tgt_type, tgt.as_str()) {
            ("nodegroup", Some(name)) => Ok((expand(name)?.into(), "compound".to_owned())),
            ("compound", Some(text)) if text.contains("N@") => {
                let words: Result<Vec<String>, String> = text
                    .split_whitespace()
                    .map(|word| match word.strip_prefix("N@") {
                        Some(name) => Ok(format!("( {} )", expand(name)?)),
                        None => Ok(word.to_owned()),
                    })
                    .collect();
                Ok((words?.join(" ").into(), tgt_type.to_owned()))
            }
            _ => Ok((tgt, tgt_type.to_owned())),
        }
    }

    fn parse(&self, tgt: &Value, tgt_type: &str, delimiter: &str) -> Result<Expression, String> {
        if let ("nodegroup", Some(name)) = (tgt_type, tgt.as_str()) {
            return Expression::nodegroup(name, &self.nodegroups).map_err(|e| e.to_string());
        }
        let empty = Value::from("");
        let tgt = if tgt.is_nil() { &empty } else { tgt };
        let options = Options { delimiter, nodegroups: Some(&self.nodegroups) };
        Expression::parse(tgt_type, tgt, &options).map_err(|e| e.to_string())
    }

    fn fits(&self, expression: &Expression, id: &str, reads: &Reads<'_>, greedy: bool) -> bool {
        let grains = match reads {
            Reads { grains: false, .. } => None,
            _ if !self.data_cache => None,
            Reads { all_grains: true, .. } => self.cache.grains(id),
            Reads { keys, .. } => self.cache.grains_picked(id, keys),
        };
        let wanted = reads.pillar && self.data_cache;
        let pillar = wanted.then(|| self.cache.pillar(id).unwrap_or_default()).flatten();
        let subject = Subject { id, grains: grains.as_ref(), pillar: pillar.as_ref() };
        if greedy { expression.matches_greedy(&subject) } else { expression.matches(&subject) }
    }
}
