//! One try to get a connection to one master, and one question whether it lives.

use std::sync::Arc;
use std::time::Duration;

use saltern_failover::{Hard, ProbeResult, Soft, Verdict};
use saltern_transport::zeromq::{LostReason, RequestError, Requester, Subscriber};
use saltern_value::{Map, Value, msgpack};
use saltern_wire::reply;
use tokio::sync::mpsc::UnboundedSender;

use crate::access::Access;
use crate::link::{Link, LinkEvent};

/// A connection that is complete and not yet in use.
pub(crate) struct Established {
    pub(crate) link: Arc<Link>,
    pub(crate) subscriber: Subscriber,
}

/// Signs in and subscribes. The name is resolved anew for each of the two connections.
pub(crate) async fn establish(
    access: Arc<Access>,
    master: usize,
    events: UnboundedSender<LinkEvent>,
) -> Result<Established, Verdict> {
    let name = access.master_name(master).to_owned();
    log::debug!("Connecting to the Salt Master {name}");
    let requester = access.requester(master);
    let credentials = access.sign_in(master, &requester).await.map_err(|error| {
        let verdict = error.verdict();
        let file = access.keys.path().display();
        let text = match error.is_about_cached_key() {
            true => format!("{error} ({file})"),
            false => error.to_string(),
        };
        report(&name, &verdict, &text);
        verdict
    })?;
    let link = Link::new(access.clone(), master, requester, &credentials, events);
    let topics = link.topics();
    let topics: Vec<&[u8]> = topics.iter().map(Vec::as_slice).collect();
    let options = access.settings.subscriber();
    let subscriber =
        Subscriber::connect(&link.publications(), options, &topics).await.map_err(|lost| {
            let verdict = Verdict::Soft(lost_as_soft(&lost.reason));
            let place = link.publications();
            report(&name, &verdict, &format!("no publications from {place}: {lost}"));
            verdict
        })?;
    // Only now that every check has passed and the connection stands.
    let store = credentials.store_master_key.is_some();
    access.keys.remember(master, &credentials.master_key, store);
    Ok(Established { link: Arc::new(link), subscriber })
}

fn report(name: &str, verdict: &Verdict, error: &str) {
    match verdict {
        Verdict::Soft(Soft::Pending) => log::error!(
            "The Salt Master {name} holds our public key for acceptance; it has to be accepted \
             there (salt-key -a)"
        ),
        Verdict::Soft(Soft::Rejected) => log::error!(
            "The Salt Master {name} has rejected this minion's public key; delete the key there \
             and accept it anew, or remove this master from the list"
        ),
        Verdict::Soft(_) => log::warn!("The Salt Master {name} is not available: {error}"),
        Verdict::Hard(Hard::Local) => log::error!("Cannot use the Salt Master {name}: {error}"),
        Verdict::Hard(_) => log::error!("The Salt Master {name} is not trusted: {error}"),
        Verdict::Ok => {}
    }
}

fn lost_as_soft(reason: &LostReason) -> Soft {
    match reason {
        LostReason::Resolve(_) => Soft::Unresolved,
        LostReason::Refused => Soft::Refused,
        LostReason::Unreachable(_) | LostReason::Timeout | LostReason::Silent => Soft::Timeout,
        LostReason::Closed | LostReason::Protocol(_) => Soft::Broken,
    }
}

/// The clear `ping`: says that requests are answered there, not by whom.
pub(crate) async fn ping(requester: &Requester, deadline: Duration) -> ProbeResult {
    let load = Map::from([("cmd", "ping")]);
    let body = reply::map(&Map::from([
        ("enc", Value::from("clear")),
        ("load", Value::Map(load)),
        ("version", Value::Int(saltern_wire::limits::PROTOCOL_VERSION)),
    ]));
    match requester.request(body, deadline).await {
        Ok(answer) => {
            let echo = msgpack::from_network(&answer).ok();
            let ours = echo.is_some_and(|e| e.get("cmd").and_then(Value::as_str) == Some("ping"));
            if ours { ProbeResult::Alive } else { ProbeResult::Failed }
        }
        Err(RequestError::Refused) => ProbeResult::Refused,
        Err(error) => {
            log::debug!("No answer to a ping from {}: {error}", requester.address());
            ProbeResult::Failed
        }
    }
}

/// A cheap request under the session key: only the master we signed in at can answer.
pub(crate) async fn prove(link: &Link, deadline: Duration) -> ProbeResult {
    match link.request(Map::from([("cmd", "_file_envs")]), deadline).await {
        Ok(_) => ProbeResult::Alive,
        Err(error) => {
            log::debug!("{} did not prove its key: {error}", link.name());
            ProbeResult::Failed
        }
    }
}
