//! The tags of Salt's own events (wire-protocol §9.4).

/// A sign-in try.
pub const AUTH: &str = "salt/auth";
/// A key was accepted, rejected, denied or deleted.
pub const KEY: &str = "salt/key";
/// The AES key is to be rotated (data `rotate_aes_key: true`).
pub const ROTATE: &str = "key";
/// A minion started (old form).
pub const MINION_START: &str = "minion_start";
/// Who is connected (`presence_events`).
pub const PRESENCE_PRESENT: &str = "salt/presence/present";
/// Who came and went (`presence_events`).
pub const PRESENCE_CHANGE: &str = "salt/presence/change";
/// Minion bus: connected to a master.
pub const MASTER_CONNECTED: &str = "__master_connected";
/// Minion bus: a master is lost (data `master`).
pub const MASTER_DISCONNECTED: &str = "__master_disconnected";
/// Minion bus: the first master answers again (data `master`).
pub const MASTER_FAILBACK: &str = "__master_failback";
/// Minion bus: forward to the master.
pub const FIRE_MASTER: &str = "fire_master";

/// `salt/job/<jid>/new`: a job was published.
#[must_use]
pub fn job_new(jid: &str) -> String {
    format!("salt/job/{jid}/new")
}

/// `salt/job/<jid>/publish`: what was published (Salt 3008).
#[must_use]
pub fn job_publish(jid: &str) -> String {
    format!("salt/job/{jid}/publish")
}

/// `salt/job/<jid>/ret/<minion>`: a minion's return.
#[must_use]
pub fn job_return(jid: &str, minion: &str) -> String {
    format!("salt/job/{jid}/ret/{minion}")
}

/// `salt/job/<jid>/error`: a job was refused.
#[must_use]
pub fn job_error(jid: &str) -> String {
    format!("salt/job/{jid}/error")
}

/// `salt/job/<jid>/prog/<minion>/<number>`: progress of a state run.
#[must_use]
pub fn job_progress(jid: &str, minion: &str, number: u64) -> String {
    format!("salt/job/{jid}/prog/{minion}/{number}")
}

/// `salt/minion/<id>/start`: a minion started.
#[must_use]
pub fn minion_start(id: &str) -> String {
    format!("salt/minion/{id}/start")
}

/// `minion/refresh/<id>`: a minion's cached data was renewed. No `salt/` in front.
#[must_use]
pub fn minion_refresh(id: &str) -> String {
    format!("minion/refresh/{id}")
}

/// `salt/run/<jid>/new`: a runner starts.
#[must_use]
pub fn run_new(jid: &str) -> String {
    format!("salt/run/{jid}/new")
}

/// `salt/run/<jid>/ret`: a runner's result.
#[must_use]
pub fn run_return(jid: &str) -> String {
    format!("salt/run/{jid}/ret")
}

/// `salt/wheel/<jid>/new`: a wheel function starts.
#[must_use]
pub fn wheel_new(jid: &str) -> String {
    format!("salt/wheel/{jid}/new")
}

/// `salt/wheel/<jid>/ret`: a wheel function's result.
#[must_use]
pub fn wheel_return(jid: &str) -> String {
    format!("salt/wheel/{jid}/ret")
}
