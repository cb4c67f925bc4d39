//! What is known of this machine and its options, as modules and masters see it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use saltern_base::MinionId;
use saltern_config::{Loaded, MinionOptions};
use saltern_fileserver::{FileServer, Settings as FileSettings};
use saltern_grains::{Inputs, collect_fast, collect_network_names};
use saltern_pillar::{Compiler, DiskFiles, MergeStrategy, Renderer, Request, Settings};
use saltern_value::{Map, Value};

/// How long the start waits for the names of this machine, which name servers may have to be
/// asked for.
const NAMES_PATIENCE: Duration = Duration::from_secs(2);

/// Every option, with the id in effect.
pub(crate) fn options(loaded: &Loaded<MinionOptions>) -> Map {
    let mut raw = loaded.raw.clone();
    raw.insert("id", loaded.opts.id.as_str());
    raw.insert("__role", "minion");
    raw
}

fn inputs<'a>(opts: &'a MinionOptions, raw: &Map) -> Inputs<'a> {
    Inputs {
        root: Path::new("/"),
        id: &opts.id,
        master: raw.get("master").cloned().unwrap_or_default(),
        conf_dir: opts.conf_file.parent().unwrap_or(Path::new("/etc/salt")),
        set: &opts.grains,
        blacklist: &opts.grains_blacklist,
        deep_merge: opts.grains_deep_merge,
        gpus: opts.enable_gpu_grains,
        fqdns: opts.enable_fqdns_grains,
        append_domain: opts.append_domain.as_deref(),
    }
}

/// The grains of this machine. May ask name servers and wait for them.
pub(crate) fn grains(opts: &MinionOptions, raw: &Map) -> Map {
    saltern_grains::collect(&inputs(opts, raw))
}

/// The grains for a start that must not hang on a name server: complete when the names are known
/// soon, else without them; the second part then brings them.
pub(crate) async fn grains_soon(
    opts: &MinionOptions,
    raw: &Map,
) -> (Map, Option<tokio::task::JoinHandle<Map>>) {
    let (names_opts, names_raw) = (opts.clone(), raw.clone());
    let mut names = tokio::task::spawn_blocking(move || {
        collect_network_names(&inputs(&names_opts, &names_raw))
    });
    let mut grains = collect_fast(&inputs(opts, raw));
    match tokio::time::timeout(NAMES_PATIENCE, &mut names).await {
        Ok(found) => {
            add_names(&mut grains, found.unwrap_or_default());
            (grains, None)
        }
        Err(_) => {
            log::warn!("The name servers are slow; the grains with host names come later");
            (grains, Some(names))
        }
    }
}

/// Adds what the name servers said; configured grains keep their values.
pub(crate) fn add_names(grains: &mut Map, names: Map) {
    for (name, value) in names {
        if grains.get_value(&name).is_none() {
            grains.insert(name, value);
        }
    }
}

/// The pillar of masterless work, from `pillar_roots` on this machine.
pub(crate) fn local_pillar(
    opts: &MinionOptions,
    raw: &Map,
    grains: &Map,
    saltenv: Option<&str>,
    pillarenv: Option<&str>,
    overrides: Option<&Map>,
) -> Map {
    let Ok(id) = MinionId::parse(&opts.id) else { return Map::new() };
    let settings = Settings {
        merge: MergeStrategy::parse(&opts.pillar_source_merging_strategy).unwrap_or_default(),
        merge_lists: opts.pillar_merge_lists,
        includes_override_sls: opts.pillar_includes_override_sls,
        top_name: opts.state_top.clone(),
        safe_render_error: false,
        nodegroups: opts.nodegroups.clone(),
        ..Settings::default()
    };
    let roots = roots(raw);
    let server = match FileServer::new(FileSettings::new(roots.clone())) {
        Ok(server) => server,
        Err(error) => {
            log::error!("No pillar: {error}");
            return Map::new();
        }
    };
    let renderer = Renderer::parse(&opts.renderer).unwrap_or(Renderer::JinjaYaml);
    let request = Request {
        id: &id,
        grains,
        saltenv: saltenv.or(opts.saltenv.as_deref()),
        pillarenv: pillarenv.or(opts.pillarenv.as_deref()),
        pillar_override: overrides,
    };
    Compiler::new(DiskFiles::new(&roots, server, renderer), settings).compile(&request)
}

/// `pillar_roots` in effect: the command line may have changed them.
fn roots(raw: &Map) -> Vec<(String, Vec<PathBuf>)> {
    let dirs = |value: &Value| -> Vec<PathBuf> {
        let list = value.as_list().unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(PathBuf::from).collect()
    };
    let roots = raw.get("pillar_roots").and_then(Value::as_map);
    roots
        .into_iter()
        .flatten()
        .filter_map(|(env, list)| Some((env.as_str()?.to_owned(), dirs(list))))
        .collect()
}
