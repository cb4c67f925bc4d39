//! One try to bring something to a master: ends with its acknowledgement, with a failure, or with
//! the loss of that master.

use std::sync::Arc;
use std::time::Duration;

use saltern_failover::Parcel;
use saltern_value::{Map, Value};

use super::item;
use crate::core::Core;
use crate::link::{Link, LinkError};

/// A master that was left may still answer what it was sent for this long.
const LEAVE: Duration = Duration::from_secs(1);

/// What became of a flight.
pub(super) struct Landed {
    pub(super) parcel: Parcel,
    /// The load, when it was not used up.
    pub(super) load: Option<Arc<Map>>,
    pub(super) end: End,
    pub(super) master: String,
}

/// How a flight ended.
pub(super) enum End {
    /// The master has it.
    Delivered,
    /// It has not; it may be tried again.
    Failed(String),
    /// There is nothing that could be sent.
    Gone(String),
}

/// One item on its way to one master.
pub(super) struct Flight {
    pub(super) parcel: Parcel,
    pub(super) load: Option<Arc<Map>>,
    pub(super) number: Option<u64>,
    /// The master that asked, when it is not the one this goes to.
    pub(super) elsewhere: Option<String>,
    /// What a large one may take beyond the usual time.
    pub(super) longer: Duration,
}

impl Flight {
    /// Ends with an answer or without one, in a bounded time.
    pub(super) async fn run(self, core: Arc<Core>, link: Arc<Link>) -> Landed {
        let master = link.name().to_owned();
        let parcel = self.parcel;
        let landed = |load, end| Landed { parcel, load, end, master };
        let load = match (self.load, self.number) {
            (Some(load), _) => load,
            (None, Some(number)) => {
                let core = core.clone();
                let read = move || core.returns.store.load(number);
                match tokio::task::spawn_blocking(read).await {
                    Ok(Ok(load)) => Arc::new(load),
                    // Trying again would not make it readable.
                    Ok(Err(error)) => return landed(None, End::Gone(error)),
                    Err(_) => return landed(None, End::Failed("it could not be read".to_owned())),
                }
            }
            (None, None) => return landed(None, End::Gone("its load is missing".to_owned())),
        };
        let kept = self.number.is_none().then(|| load.clone());
        let mut load = Arc::try_unwrap(load).unwrap_or_else(|shared| (*shared).clone());
        let is_return = load.get_str("cmd") == Some("_return");
        if let Some(origin) = self.elsewhere.filter(|_| is_return) {
            load.insert("origin", origin);
        }
        let what = item::what(&load);
        match deliver(&core, &link, load, is_return, self.longer).await {
            Ok(()) => {
                log::debug!("{} has the {what}", link.name());
                landed(kept, End::Delivered)
            }
            Err(error) => landed(kept, End::Failed(error)),
        }
    }
}

/// Ends when this connection is not in use any more; never, when it was not.
async fn left(core: &Core, link: &Arc<Link>) {
    let own = |link_in_use: Arc<Link>| Arc::ptr_eq(&link_in_use, link);
    match core.slots.iter().position(|slot| slot.link().is_some_and(own)) {
        Some(slot) => core.left(slot, link).await,
        None => std::future::pending().await,
    }
}

/// One try.
pub(super) async fn deliver(
    core: &Core,
    link: &Arc<Link>,
    load: Map,
    is_return: bool,
    longer: Duration,
) -> Result<(), String> {
    let (low, high) = core.access.settings.return_timer;
    let spread = high.saturating_sub(low).mul_f64(fastrand::f64());
    let left = async {
        left(core, link).await;
        tokio::time::sleep(LEAVE).await;
    };
    let sent = tokio::select! {
        sent = link.request(load, low + spread + longer) => sent,
        // The master is lost: no need to wait for the time to pass.
        () = left => Err(LinkError::Local("the master was left".into())),
    };
    match sent {
        // What a master says when it does not take a return: its signature, say.
        Ok(Value::Bool(false)) if is_return => Err("it does not take it".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
