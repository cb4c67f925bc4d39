//! `revoke_auth`: a minion gives up its own key.

use std::sync::Arc;

use super::{Answer, Caller};
use crate::context::Shared;
use crate::counters::Refusal;
use crate::wheel;

pub(super) async fn revoke(shared: &Arc<Shared>, from: &Caller, keep_cache: bool) -> Answer {
    if !shared.opts.allow_minion_key_revoke {
        from.refuse(shared, Refusal::NotPermitted, "revoke_auth");
        return Ok(false.into());
    }
    wheel::delete_key(shared, from.id.as_str(), keep_cache).await?;
    log::info!("Minion {} gave up its key", from.id);
    Ok(true.into())
}
