//! Which minions are connected: the subscribers of the publish port, known by the name they give
//! their connection or by the address their verified requests came from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use saltern_base::MinionId;
use saltern_store::pki::Pki;
use saltern_transport::zeromq::Publisher;
use saltern_value::Map;

/// Who is connected.
pub(crate) struct Presence {
    publisher: Arc<Publisher>,
    pki: Arc<Pki>,
    seen: Mutex<HashMap<MinionId, IpAddr>>,
    before: Mutex<BTreeSet<String>>,
}

impl Presence {
    /// Looks at the connections of `publisher`.
    pub(crate) fn new(publisher: Arc<Publisher>, pki: Arc<Pki>) -> Self {
        Presence { publisher, pki, seen: Mutex::default(), before: Mutex::default() }
    }

    /// Notes where a verified request of a minion came from. There is one entry per accepted key.
    pub(crate) fn note(&self, id: &MinionId, from: IpAddr) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(id) {
            Some(at) => *at = from,
            None => drop(seen.insert(id.clone(), from)),
        }
    }

    /// Forgets a minion whose key is gone.
    pub(crate) fn forget(&self, id: &MinionId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Connections to the publish port, whoever is behind them.
    pub(crate) fn connections(&self) -> usize {
        self.publisher.connections()
    }

    /// The accepted minions that are connected, with their addresses. A minion whose connection
    /// has no name counts when a connection comes from where its last request came from.
    pub(crate) fn connected(&self) -> BTreeMap<String, IpAddr> {
        let accepted = self.pki.accepted_ids().unwrap_or_default();
        let is_accepted = |id: &str| accepted.binary_search_by(|a| a.as_str().cmp(id)).is_ok();
        let mut connected = BTreeMap::new();
        let mut unnamed = BTreeSet::new();
        for peer in self.publisher.peers() {
            match String::from_utf8(peer.identity) {
                Ok(id) if is_accepted(&id) => {
                    connected.insert(id, peer.peer.ip());
                }
                _ => {
                    unnamed.insert(peer.peer.ip());
                }
            }
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, ip) in seen.iter() {
            if unnamed.contains(ip) && is_accepted(id.as_str()) {
                connected.entry(id.to_string()).or_insert(*ip);
            }
        }
        connected
    }

    /// The connected minions that give their connection their id: those of this program do.
    pub(crate) fn named(&self) -> BTreeSet<String> {
        let names = self.publisher.peers().into_iter();
        names.filter_map(|peer| String::from_utf8(peer.identity).ok()).collect()
    }

    /// Whether a connection has given itself this name.
    pub(crate) fn is_named(&self, id: &str) -> bool {
        self.publisher.has_named(id.as_bytes())
    }

    /// The data of the two presence events: who is there, and who came and went since the last
    /// call, if anybody did.
    pub(crate) fn events(&self) -> (Map, Option<Map>) {
        let now: BTreeSet<String> = self.connected().into_keys().collect();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<String> = now.difference(&before).cloned().collect();
        let lost: Vec<String> = before.difference(&now).cloned().collect();
        let change = (!new.is_empty() || !lost.is_empty())
            .then(|| Map::from([("new", new), ("lost", lost)]));
        let present = Map::from([("present", now.iter().cloned().collect::<Vec<_>>())]);
        *before = now;
        (present, change)
    }
}
