//! Which minions a target is expected to mean: accepted keys matched by id, by kept grains and by
//! kept pillar. Minions of which nothing is kept count as meant, as in Salt (trap T18).

use std::sync::Arc;

use saltern_store::cache::DataCache;
use saltern_store::pki::{KeyState, Pki};
use saltern_target::{Expression, Options, Subject, expand_nodegroup};
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
    pub(crate) fn accepted(&self) -> Result<Vec<String>, String> {
        self.pki.ids(KeyState::Accepted).map_err(|e| e.to_string())
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
        let needs = Needs::of(tgt, tgt_type);
        let accepted = self.accepted()?;
        let minions: Vec<String> = accepted
            .iter()
            .filter(|id| self.fits(&expression, id, needs, greedy))
            .cloned()
            .collect();
        let missing = expression
            .listed_ids()
            .into_iter()
            .filter(|id| accepted.binary_search_by(|a| a.as_str().cmp(id)).is_err())
            .map(str::to_owned)
            .collect();
        Ok(Expected { minions, missing })
    }

    /// Whether a target means this one minion; what is not kept about it does not match.
    pub(crate) fn means(&self, tgt: &Value, tgt_type: &str, id: &str) -> bool {
        self.parse(tgt, tgt_type, ":")
            .is_ok_and(|expression| self.fits(&expression, id, Needs::of(tgt, tgt_type), false))
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

    fn fits(&self, expression: &Expression, id: &str, needs: Needs, greedy: bool) -> bool {
        let kept = |wanted: bool| wanted && self.data_cache;
        let grains = kept(needs.grains).then(|| self.cache.grains(id)).flatten();
        let pillar =
            kept(needs.pillar).then(|| self.cache.pillar(id).unwrap_or_default()).flatten();
        let subject = Subject { id, grains: grains.as_ref(), pillar: pillar.as_ref() };
        if greedy { expression.matches_greedy(&subject) } else { expression.matches(&subject) }
    }
}

/// What has to be unpacked to answer: most targets need only the id.
#[derive(Clone, Copy)]
struct Needs {
    grains: bool,
    pillar: bool,
}

impl Needs {
    fn of(tgt: &Value, tgt_type: &str) -> Needs {
        match tgt_type {
            "glob" | "list" | "pcre" => Needs { grains: false, pillar: false },
            "grain" | "grain_pcre" | "ipcidr" => Needs { grains: true, pillar: false },
            "compound" if tgt.as_str().is_some_and(|t| !t.contains('@')) => {
                Needs { grains: false, pillar: false }
            }
            _ => Needs { grains: true, pillar: true },
        }
    }
}
