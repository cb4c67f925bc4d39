//! What is known of this machine and its options, as modules and masters see it.

use saltern_config::{Loaded, MinionOptions};
use saltern_value::Map;

/// Every option, with the id in effect.
pub(crate) fn options(loaded: &Loaded<MinionOptions>) -> Map {
    let mut raw = loaded.raw.clone();
    raw.insert("id", loaded.opts.id.as_str());
    raw.insert("__role", "minion");
    raw
}

/// The grains of this machine.
pub(crate) fn grains(opts: &MinionOptions) -> Map {
    let _ = opts;
    Map::new()
}

/// The pillar of masterless work, from `pillar_roots` on this machine.
pub(crate) fn local_pillar(
    opts: &MinionOptions,
    grains: &Map,
    saltenv: Option<&str>,
    pillarenv: Option<&str>,
    overrides: Option<&Map>,
) -> Map {
    let _ = (opts, grains, saltenv, pillarenv, overrides);
    Map::new()
}
