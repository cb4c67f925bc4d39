//! Nodes to values, the way Salt's loader does it: merge keys, no double keys, no objects.

use std::collections::HashSet;

use super::YamlError;
use super::compose::{Graph, Kind, MAX_DEPTH, NodeId, Position};
use super::resolve::Tag;
use super::scalar;
use crate::{Map, Value, pyrepr};

/// How many values and merged members aliases may unfold to, beyond ten times what is written.
/// A "billion laughs" document ends here.
const EXPANSION: usize = 200_000;

/// Builds the value of a node.
pub(super) fn construct(graph: &mut Graph, root: NodeId) -> Result<Value, YamlError> {
    let budget = EXPANSION + 10 * graph.nodes.len();
    let mut path = vec![false; graph.nodes.len()];
    Constructor { graph, budget, path: &mut path }.value(root, 0)
}

struct Constructor<'a> {
    graph: &'a mut Graph,
    budget: usize,
    /// Which nodes are being built: an alias to one of them would be its own member.
    path: &'a mut [bool],
}

impl Constructor<'_> {
    fn value(&mut self, id: NodeId, depth: usize) -> Result<Value, YamlError> {
        let at = self.at(id);
        self.spend(1, at)?;
        if depth > MAX_DEPTH {
            return Err(at.error(format!("aliases nest more than {MAX_DEPTH} levels deep")));
        }
        if std::mem::replace(&mut self.path[id], true) {
            return Err(at.error("this contains an alias of itself"));
        }
        let value = self.build(id, at, depth);
        self.path[id] = false;
        value
    }

    fn at(&self, id: NodeId) -> Position {
        self.graph.nodes[id].at
    }

    fn spend(&mut self, n: usize, at: Position) -> Result<(), YamlError> {
        self.budget = self
            .budget
            .checked_sub(n)
            .ok_or_else(|| at.error("the aliases in this document unfold to too many values"))?;
        Ok(())
    }

    fn build(&mut self, id: NodeId, at: Position, depth: usize) -> Result<Value, YamlError> {
        let tag = self.graph.nodes[id].tag.clone();
        let bad = |what: &str, text: &str| at.error(format!("{text:?} is no {what}"));
        match tag {
            Tag::Null => self.text(id).map(|_| Value::Nil),
            Tag::Bool => {
                let text = self.text(id)?;
                scalar::boolean(&text).map(Value::Bool).ok_or_else(|| bad("truth value", &text))
            }
            Tag::Int => {
                // Salt looks at the digits before anything else, so `!!int {=: 5}` fails there.
                if self.scalar(id).is_none() {
                    return Err(at.error("a single value is expected for the tag !!int"));
                }
                let text = self.text(id)?;
                scalar::int(&text).ok_or_else(|| bad("integer", &text))
            }
            Tag::Float => {
                let text = self.text(id)?;
                scalar::float(&text).ok_or_else(|| bad("number", &text))
            }
            Tag::Binary => {
                let text = self.text(id)?;
                scalar::binary(&text).map(Value::Bytes).ok_or_else(|| bad("base64 text", &text))
            }
            Tag::Str | Tag::Timestamp | Tag::Unicode => self.text(id).map(Value::Str),
            Tag::Seq => self.sequence(id, depth).map(Value::List),
            Tag::Map => self.mapping(id, depth).map(Value::Map),
            // Sets become lists, as everywhere in Salt's data.
            Tag::Set => {
                let members = self.mapping(id, depth)?;
                Ok(Value::List(members.into_iter().map(|(key, _)| key).collect()))
            }
            Tag::Omap | Tag::Pairs => self.pairs(id, depth),
            Tag::Merge | Tag::Value | Tag::Other(_) => Err(at.error(format!(
                "the tag {} cannot be used here; quote the text or leave the tag out",
                tag.name()
            ))),
        }
    }

    /// Text of a scalar, or of the `=` member of a mapping that is tagged as a scalar.
    fn text(&self, id: NodeId) -> Result<String, YamlError> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            let node = &self.graph.nodes[id];
            match &node.kind {
                Kind::Scalar(text) => return Ok(text.clone()),
                Kind::Map(pairs) => {
                    let is_value = |key: &NodeId| self.graph.nodes[*key].tag == Tag::Value;
                    match pairs.iter().find(|(key, _)| is_value(key)) {
                        Some((_, value)) => id = *value,
                        None => break,
                    }
                }
                Kind::Seq(_) => break,
            }
        }
        let tag = self.graph.nodes[id].tag.name();
        Err(self.at(id).error(format!("a single value is expected for the tag {tag}")))
    }

    fn sequence(&mut self, id: NodeId, depth: usize) -> Result<Vec<Value>, YamlError> {
        let Kind::Seq(items) = &self.graph.nodes[id].kind else {
            return Err(self.at(id).error("a list is expected here"));
        };
        items.clone().into_iter().map(|item| self.value(item, depth + 1)).collect()
    }

    fn pairs(&mut self, id: NodeId, depth: usize) -> Result<Value, YamlError> {
        let Kind::Seq(items) = &self.graph.nodes[id].kind else {
            return Err(self.at(id).error("a list of mappings with one member is expected here"));
        };
        let mut out = Vec::new();
        for item in items.clone() {
            let Kind::Map(pairs) = &self.graph.nodes[item].kind else {
                return Err(self.at(item).error("a mapping with one member is expected here"));
            };
            let &[(key, value)] = pairs.as_slice() else {
                return Err(self.at(item).error("a mapping with one member is expected here"));
            };
            let key = self.value(key, depth + 2)?;
            let value = self.value(value, depth + 2)?;
            out.push(Value::List(vec![key, value]));
        }
        Ok(Value::List(out))
    }

    fn mapping(&mut self, id: NodeId, depth: usize) -> Result<Map, YamlError> {
        if !matches!(self.graph.nodes[id].kind, Kind::Map(_)) {
            return Err(self.at(id).error("a mapping is expected here"));
        }
        self.flatten(id, 0)?;
        let pairs = match &self.graph.nodes[id].kind {
            Kind::Map(pairs) => pairs.clone(),
            _ => Vec::new(),
        };
        let mut map = Map::new();
        for (key_id, value_id) in pairs {
            let at = self.at(key_id);
            let key = self.value(key_id, depth + 1)?;
            if matches!(key, Value::List(_) | Value::Map(_)) {
                return Err(at.error(format!(
                    "a {} cannot be a key; a template expression may need quotes around it",
                    key.type_name()
                )));
            }
            let value = self.value(value_id, depth + 1)?;
            if has_key(&map, &key) {
                return Err(at.error(format!(
                    "conflicting ID '{}': this key is there before",
                    pyrepr::str(&key)
                )));
            }
            map.insert(key, value);
        }
        Ok(map)
    }

    /// Replaces the `<<` members of a mapping by the members they bring in. Members the mapping
    /// has itself win; two merged mappings with the same key are left for the check on doubles.
    fn flatten(&mut self, id: NodeId, depth: usize) -> Result<(), YamlError> {
        let at = self.at(id);
        if depth > MAX_DEPTH {
            return Err(at.error(format!("merge keys nest more than {MAX_DEPTH} levels deep")));
        }
        let mut merged = Vec::new();
        let mut index = 0;
        while let Some((key, value)) = self.pair(id, index) {
            match self.graph.nodes[key].tag {
                Tag::Merge => {
                    if let Kind::Map(pairs) = &mut self.graph.nodes[id].kind {
                        pairs.remove(index);
                    }
                    self.merge_source(value, depth, &mut merged)?;
                }
                Tag::Value => {
                    self.graph.nodes[key].tag = Tag::Str;
                    index += 1;
                }
                _ => index += 1,
            }
        }
        if merged.is_empty() {
            return Ok(());
        }
        self.spend(merged.len(), at)?;
        let Kind::Map(own) = &self.graph.nodes[id].kind else { return Ok(()) };
        let taken: HashSet<&str> = own.iter().filter_map(|(key, _)| self.scalar(*key)).collect();
        merged.retain(|(key, _)| self.scalar(*key).is_none_or(|text| !taken.contains(text)));
        let mut pairs = merged;
        pairs.extend_from_slice(own);
        self.graph.nodes[id].kind = Kind::Map(pairs);
        Ok(())
    }

    fn pair(&self, id: NodeId, index: usize) -> Option<(NodeId, NodeId)> {
        match &self.graph.nodes[id].kind {
            Kind::Map(pairs) => pairs.get(index).copied(),
            _ => None,
        }
    }

    fn scalar(&self, id: NodeId) -> Option<&str> {
        match &self.graph.nodes[id].kind {
            Kind::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the members a `<<` value stands for: a mapping, or a list of them, last one first.
    fn merge_source(
        &mut self,
        source: NodeId,
        depth: usize,
        merged: &mut Vec<(NodeId, NodeId)>,
    ) -> Result<(), YamlError> {
        let wrong = "a mapping or a list of mappings is expected behind a merge key";
        let sources = match &self.graph.nodes[source].kind {
            Kind::Map(_) => vec![source],
            Kind::Seq(items) => items.clone(),
            Kind::Scalar(_) => return Err(self.at(source).error(wrong)),
        };
        let mut found = Vec::new();
        for item in sources {
            let at = self.at(item);
            if !matches!(self.graph.nodes[item].kind, Kind::Map(_)) {
                return Err(at.error(wrong));
            }
            self.flatten(item, depth + 1)?;
            if let Kind::Map(pairs) = &self.graph.nodes[item].kind {
                let pairs = pairs.clone();
                self.spend(pairs.len(), at)?;
                found.push(pairs);
            }
        }
        merged.extend(found.into_iter().rev().flatten());
        Ok(())
    }
}

/// Whether a key is there in Python's sense, where `1`, `1.0` and `True` are the same key.
fn has_key(map: &Map, key: &Value) -> bool {
    if map.get_value(key).is_some() {
        return true;
    }
    let Some(number) = key.as_f64().or_else(|| key.as_bool().map(f64::from)) else { return false };
    let whole = number as i64;
    map.get_value(&Value::Float(number)).is_some()
        || (whole as f64 == number && map.get_value(&Value::Int(whole)).is_some())
        || (number == 0.0 && map.get_value(&Value::Bool(false)).is_some())
        || (number == 1.0 && map.get_value(&Value::Bool(true)).is_some())
}
