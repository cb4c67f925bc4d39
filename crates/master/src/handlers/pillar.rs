//! `_pillar`: compiles a minion's pillar, keeps it with the minion's grains, and answers so that
//! only that minion can read it.

use std::sync::Arc;

use saltern_event::tags;
use saltern_pillar::Request;
use saltern_value::Map;
use saltern_wire::command::Pillar;
use saltern_wire::session::server::{AcceptedMinion, Replier};

use super::Caller;
use crate::context::Shared;

/// Compiles and seals. Both are done on one blocking thread: files, then RSA.
///
/// # Errors
/// When OpenSSL fails.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    from: &Caller,
    minion: &AcceptedMinion,
    replier: &Replier,
    wanted: Pillar,
) -> Result<Vec<u8>, String> {
    let (key, replier, id) = (minion.key().clone(), replier.clone(), from.id.clone());
    let reply = shared
        .compute(move |shared| {
            let mut grains = wanted.grains;
            grains.insert("id", id.as_str());
            let pillar = shared.pillar.compile(&Request {
                id: &id,
                grains: &grains,
                saltenv: wanted.saltenv.as_deref(),
                pillarenv: wanted.pillarenv.as_deref(),
                pillar_override: Some(&wanted.pillar_override),
            });
            if shared.opts.minion_data_cache
                && let Err(error) = shared.cache.store(&id, &grains, Some(&pillar))
            {
                log::error!("Grains and pillar of {id} not kept: {error}");
            }
            replier.pillar(&key, shared.keys.private(), &pillar).map_err(|e| e.to_string())
        })
        .await??;
    if shared.opts.minion_data_cache && shared.opts.minion_data_cache_events {
        let data = Map::from([("Minion data cache refresh", from.id.as_str())]);
        shared.fire(&tags::minion_refresh(from.id.as_str()), data);
    }
    Ok(reply)
}
