//! One try to get a connection to one master, and one question whether it lives.

use std::sync::Arc;
use std::time::Duration;

use saltern_failover::{Hard, ProbeResult, Soft, Verdict};
use saltern_transport::zeromq::{RequestError, Requester, Subscriber};

use crate::access::{Access, Purpose};
use crate::link::{Link, LinkError, Tell};
use crate::verdict;

/// Why a try came to nothing, for the machine and for the log.
#[derive(Debug)]
pub(crate) struct NotReached {
    pub(crate) verdict: Verdict,
    text: String,
}

/// Signs in. The name is resolved anew for each connection.
pub(crate) async fn sign_in(
    access: Arc<Access>,
    master: usize,
    purpose: Purpose,
    tell: Tell,
) -> Result<Arc<Link>, NotReached> {
    log::debug!("Connecting to the Salt Master {} ({purpose:?})", access.master_name(master));
    let requester = access.requester(master);
    let credentials = access
        .sign_in(master, &requester, purpose)
        .await
        .map_err(|error| NotReached { verdict: error.verdict(), text: error.to_string() })?;
    Ok(Arc::new(Link::new(access, master, requester, &credentials, tell)))
}

/// Subscribes to the publications of a master that has signed us in.
pub(crate) async fn subscribe(access: &Access, link: &Link) -> Result<Subscriber, NotReached> {
    let topics = link.topics();
    let topics: Vec<&[u8]> = topics.iter().map(Vec::as_slice).collect();
    let options = access.settings.subscriber();
    let place = link.publications();
    Subscriber::connect(&place, options, &topics).await.map_err(|lost| NotReached {
        verdict: Verdict::Soft(verdict::of_subscription(&lost.reason)),
        text: format!("no publications from {place}: {lost}"),
    })
}

impl NotReached {
    /// Says so in the log.
    pub(crate) fn log(&self, name: &str) {
        report(name, &self.verdict, &self.text);
    }

    /// Says so in the log, of a master that is only to be kept ready.
    pub(crate) fn log_standby(&self, name: &str) {
        log::warn!("This minion could not switch to the Salt Master {name} now: {}", self.text);
    }
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

/// A cheap request under the session key: only the master we signed in at can answer.
pub(crate) async fn prove(link: &Link, requester: &Requester, deadline: Duration) -> ProbeResult {
    match link.prove(requester, deadline).await {
        Ok(_) => ProbeResult::Alive,
        Err(LinkError::Transport(RequestError::Refused)) => ProbeResult::Refused,
        Err(error) => {
            log::debug!("{} did not prove its key: {error}", link.name());
            ProbeResult::Failed
        }
    }
}
