//! From a request to a pillar: the order of things.

use saltern_base::MinionId;
use saltern_value::{Map, Value};

use crate::files::Files;
use crate::merge::MergeStrategy;
use crate::sls::SlsLoader;
use crate::top;

/// How pillar is compiled (the master's options of the same names).
#[derive(Clone, Debug)]
pub struct Settings {
    /// `pillar_source_merging_strategy`
    pub merge: MergeStrategy,
    /// `pillar_merge_lists`
    pub merge_lists: bool,
    /// `pillar_includes_override_sls`
    pub includes_override_sls: bool,
    /// `state_top`, usually `top.sls`.
    pub top_name: String,
    /// `saltenv` of the master, for minions that name none.
    pub saltenv: Option<String>,
    /// `pillarenv` of the master, for minions that name none.
    pub pillarenv: Option<String>,
    /// `pillarenv_from_saltenv`
    pub pillarenv_from_saltenv: bool,
    /// `pillar_safe_render_error`: errors in the pillar do not show what the files hold.
    pub safe_render_error: bool,
    /// `pillar_opts`: when set, this mapping (the master's options) is put under `master`.
    pub master_opts: Option<Map>,
    /// `nodegroups`, for top-file targets.
    pub nodegroups: Map,
    /// `ext_pillar` as configured: not empty = refused with one warning.
    pub ext_pillar: Vec<Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            merge: MergeStrategy::default(),
            merge_lists: false,
            includes_override_sls: false,
            top_name: "top.sls".to_owned(),
            saltenv: None,
            pillarenv: None,
            pillarenv_from_saltenv: false,
            safe_render_error: true,
            master_opts: None,
            nodegroups: Map::new(),
            ext_pillar: Vec::new(),
        }
    }
}

/// Whose pillar, and what the minion says about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The minion.
    pub id: &'a MinionId,
    /// Its grains, as sent with the request; a wrong `id` in them does not count.
    pub grains: &'a Map,
    /// `saltenv`
    pub saltenv: Option<&'a str>,
    /// `pillarenv`: only this environment.
    pub pillarenv: Option<&'a str>,
    /// `pillar_override`: merged over the result.
    pub pillar_override: Option<&'a Map>,
}

/// The environments of one compilation.
#[derive(Debug)]
pub(crate) struct Envs {
    /// Those of `pillar_roots`, `__env__` replaced by the one it stands for here.
    pub(crate) configured: Vec<String>,
    /// Those whose top file is read, in their order.
    pub(crate) tops: Vec<String>,
    /// Only this one counts, in every top file.
    pub(crate) only: Option<String>,
}

/// Compiles pillars. `Send + Sync`; blocks on the disk.
#[derive(Debug)]
pub struct Compiler<F> {
    files: F,
    settings: Settings,
}

impl<F: Files> Compiler<F> {
    /// A compiler over these files.
    pub fn new(files: F, settings: Settings) -> Self {
        if !settings.ext_pillar.is_empty() {
            log::warn!(
                "ext_pillar is set but external pillars are not available; minions get the pillar \
                 of pillar_roots alone, remove the option to silence this"
            );
        }
        Compiler { files, settings }
    }

    /// The pillar of a minion. Errors stand under `_errors`, a list of sentences.
    #[must_use]
    pub fn compile(&self, request: &Request<'_>) -> Map {
        let settings = &self.settings;
        let envs = self.envs(request);
        let top = top::read(&self.files, settings, &envs);
        let mut loader = SlsLoader::new(&self.files, settings, &envs, &top.ignored);
        let matched = top.matching(request, settings, envs.only.as_deref(), &mut loader.errors);
        let mut pillar = request.pillar_override.cloned().unwrap_or_default();
        for (saltenv, names) in matched {
            loader.load_env(&saltenv, &names, &mut pillar);
        }
        let mut errors = loader.errors;
        errors.extend(top.errors);
        if let Some(opts) = &settings.master_opts {
            pillar.insert("master", opts.clone());
        }
        if !errors.is_empty() {
            for error in &errors {
                log::error!(target: "critical", "Pillar render error for {}: {error}", request.id);
            }
            pillar.insert("_errors", errors);
        }
        if let Some(over) = request.pillar_override {
            settings.merge.merge(&mut pillar, over.clone(), settings.merge_lists);
        }
        pillar
    }

    fn envs(&self, request: &Request<'_>) -> Envs {
        let settings = &self.settings;
        let saltenv = request.saltenv.or(settings.saltenv.as_deref());
        let from_saltenv = if settings.pillarenv_from_saltenv { saltenv } else { None };
        let pillarenv = request.pillarenv.or(from_saltenv).or(settings.pillarenv.as_deref());
        let pillarenv = pillarenv.filter(|env| !env.is_empty());
        let own = saltenv.filter(|env| !env.is_empty()).unwrap_or("base");
        let mut configured = self.files.envs();
        if let Some(at) = configured.iter().position(|env| env == "__env__") {
            configured.remove(at);
            let stands_for = pillarenv.unwrap_or(own);
            if !configured.iter().any(|env| env == stands_for) {
                configured.push(stands_for.to_owned());
            }
        }
        let tops = match pillarenv {
            Some(only) => configured.iter().filter(|env| *env == only).cloned().collect(),
            None => {
                let mut all = vec!["base".to_owned()];
                all.extend(configured.iter().filter(|env| *env != "base").cloned());
                all.retain(|env| settings.merge != MergeStrategy::None || env == own);
                all
            }
        };
        Envs { configured, tops, only: pillarenv.map(str::to_owned) }
    }
}
