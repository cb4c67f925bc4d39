//! Top files: which SLS files a minion gets.

use std::collections::{BTreeSet, HashSet};

use saltern_target::{Expression, Options, Subject, TargetError};
use saltern_value::{Map, Value, pyrepr};

use crate::compile::{Envs, Request, Settings};
use crate::files::Files;
use crate::render::Parsed;
use crate::sls::find;

/// All top files as one.
#[derive(Debug, Default)]
pub(crate) struct Top {
    envs: Vec<(String, Vec<Target>)>,
    /// SLS files that may be missing, with their environment.
    pub(crate) ignored: HashSet<(String, String)>,
    pub(crate) errors: Vec<String>,
}

/// One target of one environment.
#[derive(Debug)]
struct Target {
    name: String,
    matcher: String,
    order: i64,
    sls: Vec<String>,
}

/// What Salt says when the shape of a top file is wrong; what is wrong follows as another error.
const MALFORMED: &str = "Error encountered while rendering pillar top file.";

/// Reads the top files of the environments, and the ones they include.
pub(crate) fn read(files: &dyn Files, settings: &Settings, envs: &Envs) -> Top {
    let mut top = Top::default();
    let name = settings.top_name.trim_start_matches("salt://").trim_start_matches('/');
    for saltenv in &envs.tops {
        let mut waiting: Vec<(String, Parsed)> = Vec::new();
        if let Some(sls) = files.read(saltenv, name) {
            waiting.push(("Primary Top file".to_owned(), (*sls.content).clone()));
        }
        let mut done = BTreeSet::new();
        while !waiting.is_empty() {
            let (what, content) = waiting.remove(0);
            match content {
                Ok(content) => {
                    for sls in top.add(content) {
                        if done.insert(sls.clone())
                            && let Some(found) = find(files, saltenv, &sls)
                        {
                            waiting.push((format!("Top file {sls}"), (*found.content).clone()));
                        }
                    }
                }
                Err(e) => {
                    top.errors.push(format!("Rendering {what} failed, render error:\n{e}"));
                }
            }
        }
    }
    if top.errors.iter().any(|e| e == MALFORMED) {
        // As with Salt: a top file that cannot be understood gives nothing to anyone.
        top.envs.clear();
    }
    for (_, targets) in &mut top.envs {
        targets.sort_by_key(|target| target.order);
    }
    top
}

impl Top {
    /// Adds one top file; returns the SLS names it includes.
    fn add(&mut self, content: Value) -> Vec<String> {
        let Value::Map(mut content) = content else {
            self.malformed(format!("a top file must be a mapping, not a {}", content.type_name()));
            return Vec::new();
        };
        let include = content.remove("include");
        for (saltenv, targets) in content {
            let saltenv = text(&saltenv);
            match targets {
                Value::Map(targets) => {
                    for (name, items) in targets {
                        self.add_target(&saltenv, text(&name), &items);
                    }
                }
                other => self.malformed(format!(
                    "environment '{saltenv}' must hold targets, not a {}",
                    other.type_name()
                )),
            }
        }
        match include {
            Some(Value::List(list)) => list.iter().map(text).collect(),
            _ => Vec::new(),
        }
    }

    fn add_target(&mut self, saltenv: &str, name: String, items: &Value) {
        let items: Vec<&Value> = match items {
            Value::List(list) => list.iter().collect(),
            // `'*': {a:, b:}` names SLS files as well, if nobody means it.
            Value::Map(map) => map.keys().collect(),
            _ => {
                self.malformed(format!(
                    "the target '{name}' of environment '{saltenv}' needs a list of SLS names"
                ));
                return;
            }
        };
        let mut target = Target { name, matcher: "compound".to_owned(), order: 0, sls: Vec::new() };
        let mut may_be_missing = false;
        for item in items {
            match item {
                Value::Str(sls) if !target.sls.contains(sls) => target.sls.push(sls.clone()),
                Value::Map(options) => {
                    if let Some(matcher) = options.get("match") {
                        target.matcher = text(matcher);
                    }
                    if let Some(order) = options.get("order") {
                        target.order = order_of(order);
                    }
                    may_be_missing |= options.get("ignore_missing").is_some_and(Value::truthy);
                }
                _ => {}
            }
        }
        if may_be_missing {
            let names = target.sls.iter().map(|sls| (saltenv.to_owned(), sls.clone()));
            self.ignored.extend(names);
        }
        self.put(saltenv, target);
    }

    /// A later top file replaces the same target of an earlier one, at its place.
    fn put(&mut self, saltenv: &str, target: Target) {
        let at = self.envs.iter().position(|(env, _)| env == saltenv).unwrap_or_else(|| {
            self.envs.push((saltenv.to_owned(), Vec::new()));
            self.envs.len() - 1
        });
        let Some((_, targets)) = self.envs.get_mut(at) else { return };
        match targets.iter_mut().find(|old| old.name == target.name) {
            Some(old) => *old = target,
            None => targets.push(target),
        }
    }

    fn malformed(&mut self, detail: String) {
        if !self.errors.iter().any(|e| e == MALFORMED) {
            self.errors.push(MALFORMED.to_owned());
        }
        self.errors.push(format!("Pillar top file: {detail}"));
    }

    /// The SLS names per environment for this minion, each once, in their order.
    pub(crate) fn matching(
        &self,
        request: &Request<'_>,
        settings: &Settings,
        only: Option<&str>,
        errors: &mut Vec<String>,
    ) -> Vec<(String, Vec<String>)> {
        let corrected = with_own_id(request);
        let grains = corrected.as_ref().unwrap_or(request.grains);
        // Pillar cannot be a target here: it is what is being made.
        let subject = Subject { id: request.id.as_str(), grains: Some(grains), pillar: None };
        let mut matched = Vec::new();
        for (saltenv, targets) in &self.envs {
            if only.is_some_and(|only| only != saltenv) {
                continue;
            }
            let mut names: Vec<String> = Vec::new();
            for target in targets {
                if !target.matches(&subject, &settings.nodegroups, errors) {
                    continue;
                }
                for sls in &target.sls {
                    if !names.contains(sls) {
                        names.push(sls.clone());
                    }
                }
            }
            if !names.is_empty() {
                matched.push((saltenv.clone(), names));
            }
        }
        matched
    }
}

impl Target {
    fn matches(&self, subject: &Subject<'_>, nodegroups: &Map, errors: &mut Vec<String>) -> bool {
        let expression = if self.matcher == "nodegroup" {
            Expression::nodegroup(&self.name, nodegroups)
        } else {
            let options = Options { nodegroups: Some(nodegroups), ..Options::default() };
            Expression::parse(&self.matcher, &Value::from(&self.name), &options)
        };
        match expression {
            Ok(expression) => expression.matches(subject),
            Err(e @ TargetError::UnknownType(_)) => {
                errors.push(format!("Pillar top file: the target '{}': {e}", self.name));
                false
            }
            Err(e) => {
                log::error!("pillar top file: the target '{}' matches nobody: {e}", self.name);
                false
            }
        }
    }
}

/// The grains with the id the minion has proved; `None` when they have it already.
fn with_own_id(request: &Request<'_>) -> Option<Map> {
    let id = request.id.as_str();
    if request.grains.get_str("id") == Some(id) {
        return None;
    }
    let mut grains = request.grains.clone();
    grains.insert("id", id);
    Some(grains)
}

fn order_of(value: &Value) -> i64 {
    match value {
        Value::Str(text) => text.trim().parse().unwrap_or(0),
        Value::Bool(b) => i64::from(*b),
        Value::Float(f) => *f as i64,
        other => other.as_int().unwrap_or(0),
    }
}

/// YAML keys are not always text: `123:` is a target as well.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| pyrepr::repr(value), str::to_owned)
}
