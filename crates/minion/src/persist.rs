//! Requests of running jobs: asked again, of the next master when the one in use is lost meanwhile,
//! until one answers or the time is over.

use std::sync::Arc;
use std::time::Duration;

use saltern_transport::zeromq::RequestError;
use saltern_value::{Map, Value};
use tokio::time::{Instant, sleep, timeout_at};

use crate::core::{Core, Slot};
use crate::link::{Link, LinkError};

/// Pause after a try that failed at once, give or take a half.
const PAUSE: Duration = Duration::from_millis(400);

/// Requests that would do more than the first time when they are sent again: nobody knows whether
/// the one without an answer was carried out.
const ONCE: [&str; 4] = ["minion_pub", "minion_runner", "revoke_auth", "_file_recv"];

/// How often and how long a request is tried.
#[derive(Clone, Copy)]
struct Patience {
    /// One try.
    each: Duration,
    /// Tries that may time out.
    tries: u32,
    repeat: bool,
}

/// Sends a request for a job of this slot. `timeout` is for everything; without one the options
/// `request_channel_timeout` and `request_channel_tries` count.
pub(crate) async fn request(
    core: &Core,
    slot: usize,
    load: Map,
    timeout: Option<Duration>,
) -> Result<Value, LinkError> {
    let repeat = !ONCE.contains(&load.get_str("cmd").unwrap_or_default());
    let patience = match timeout {
        Some(each) => Patience { each, tries: 1, repeat },
        None => Patience { repeat, ..Patience::of(core) },
    };
    let ask = move |link: Arc<Link>, time| {
        let load = load.clone();
        async move { link.request(load, time).await }
    };
    persist(core, slot, patience, ask).await
}

/// Asks for a pillar for a job of this slot.
pub(crate) async fn pillar(core: &Core, slot: usize, load: Map) -> Result<Map, LinkError> {
    let ask = move |link: Arc<Link>, time| {
        let load = load.clone();
        async move { link.pillar(load, time).await }
    };
    persist(core, slot, Patience::of(core), ask).await
}

impl Patience {
    fn of(core: &Core) -> Self {
        let settings = &core.access.settings;
        Patience { each: settings.request_timeout, tries: settings.request_tries, repeat: true }
    }
}

async fn persist<T, F: Future<Output = Result<T, LinkError>> + Send>(
    core: &Core,
    slot: usize,
    patience: Patience,
    ask: impl Fn(Arc<Link>, Duration) -> F,
) -> Result<T, LinkError> {
    let end = Instant::now() + patience.each.saturating_mul(patience.tries);
    let mut timeouts = 0;
    loop {
        let Some(link) = connected(core, slot, end.min(Instant::now() + patience.each)).await
        else {
            let why = "no master is connected".to_owned();
            return Err(LinkError::Transport(RequestError::Unreachable(why)));
        };
        let time = patience.each.min(end.saturating_duration_since(Instant::now()));
        let answer = tokio::select! {
            answer = ask(link.clone(), time) => answer,
            // The next master is asked instead; the answer would not come any more.
            () = core.left(slot, &link), if patience.repeat => continue,
        };
        let error = match answer {
            Err(error @ (LinkError::Transport(_) | LinkError::SignIn(_))) if patience.repeat => {
                error
            }
            other => return other,
        };
        if matches!(error, LinkError::Transport(RequestError::Timeout)) {
            timeouts += 1;
        }
        let pause = PAUSE.mul_f64(0.5 + fastrand::f64());
        if timeouts >= patience.tries || Instant::now() + pause >= end {
            return Err(error);
        }
        log::info!("A request of a job to {} is tried again: {error}", link.name());
        tokio::select! {
            () = sleep(pause) => {}
            () = core.left(slot, &link) => {}
        }
    }
}

/// The connection of a slot, or of another one; waits for the slot's own when there is none.
async fn connected(core: &Core, slot: usize, until: Instant) -> Option<Arc<Link>> {
    if let Some(link) = core.any_link(slot) {
        return Some(link);
    }
    timeout_at(until, core.slots.get(slot).map(Slot::connected)?).await.ok()?
}
