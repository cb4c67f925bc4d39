//! `max_open_files`: every minion is a connection, and every connection an open file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to `wanted` as far as the system allows, never lowers it.
/// Must come before the sockets are bound: they size their own bounds by it. Returns the soft
/// limit that holds then; `None` is no limit.
pub(crate) fn raise(wanted: i64) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    log::info!(
        "Current values for max open files soft/hard setting: {}/{}",
        shown(limit.current),
        shown(limit.maximum)
    );
    let soft = limit.current?;
    let wanted = u64::try_from(wanted).unwrap_or(0);
    let goal = match limit.maximum {
        Some(hard) if wanted > hard => {
            log::info!(
                "option max_open_files: {wanted} is more than this user may set; {hard} it is"
            );
            hard
        }
        _ => wanted,
    };
    if soft >= goal {
        return Some(soft);
    }
    log::info!("Raising max open files value to {goal}");
    match setrlimit(Resource::Nofile, Rlimit { current: Some(goal), maximum: limit.maximum }) {
        Ok(()) => Some(goal),
        Err(error) => {
            log::warn!("The limit of open files stays at {soft}: {error}");
            Some(soft)
        }
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string())
}

/// Says when `accepted` minions come near the limit, at Salt's thresholds: each needs two
/// connections, and tools and the job cache need some files, too.
pub(crate) fn check(accepted: usize, soft: Option<u64>) {
    log::debug!("This salt-master instance has accepted {accepted} minion keys.");
    let (Some(soft), Ok(accepted)) = (soft, u64::try_from(accepted)) else { return };
    let text = format!(
        "The number of accepted minion keys({accepted}) should be lower than 1/4 of the max open \
         files soft setting({soft}); raise max_open_files, and the hard limit of this user if \
         need be"
    );
    match accepted {
        n if n.saturating_mul(4) <= soft => {}
        n if n.saturating_mul(3) < soft => log::info!("{text}"),
        n if n.saturating_mul(2) < soft => log::warn!("{text}"),
        _ => log::error!(target: "critical", "{text}"),
    }
}
