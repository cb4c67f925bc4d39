//! A fleet of simulated minions in one process, for capacity planning and tests at scale: each with
//! its own id, key, connections and failover machine (the same as the real minion's), against any
//! master that speaks Salt's protocol.

mod answer;
mod distribution;
mod fleet;
mod keys;
mod link;
mod minion;
mod plan;
mod stats;
mod work;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use saltern_base::MinionId;
use saltern_crypto::{EncAlgo, PrivateKey, SigAlgo};
use saltern_value::{Map, Value};
use saltern_wire::auth::Identity;

pub use distribution::{Distribution, seconds};
pub use keys::pool;
pub use plan::{Place, Plan, Shares, fill};

use fleet::Fleet;
use work::Kind;

/// A swarm under way.
#[derive(Clone, Debug)]
pub struct Swarm {
    fleet: Arc<Fleet>,
}

impl Swarm {
    /// A swarm that is not started yet.
    ///
    /// # Errors
    /// One sentence: an id is none, or the journal cannot be written.
    pub fn new(plan: Plan) -> Result<Swarm, String> {
        for position in 0..plan.count {
            id(&plan, position)?;
        }
        let kinds = kinds(&plan);
        Ok(Swarm { fleet: Arc::new(Fleet::new(plan, kinds)?) })
    }

    /// Starts it on the runtime that runs this; `keys` (see [`Plan::key_numbers`]) are shared among
    /// the minions in turn. Ends with the runtime.
    ///
    /// # Errors
    /// One sentence: a key cannot sign, or it was started before.
    pub fn start(&self, keys: &[PrivateKey]) -> Result<(), String> {
        let plan = &self.fleet.plan;
        let mut identities: Vec<Identity> = Vec::with_capacity(plan.count);
        for position in 0..plan.count {
            let id = id(plan, position)?;
            let shared = position.checked_rem(keys.len()).filter(|at| *at < position);
            let identity = match (shared.and_then(|at| identities.get(at)), keys.get(position)) {
                (Some(identity), _) => identity.renamed(id),
                (None, Some(key)) => {
                    Identity::new(id, key.clone(), EncAlgo::OaepSha1, SigAlgo::Pkcs1v15Sha1)
                        .map_err(|e| format!("a key cannot sign: {e}"))?
                }
                (None, None) => return Err("there are no keys".to_owned()),
            };
            identities.push(identity);
        }
        let began = self.fleet.began.set(Instant::now());
        began.map_err(|_| "the swarm was started before".to_owned())?;
        tokio::spawn(start(self.fleet.clone(), identities));
        Ok(())
    }

    /// Whether every minion (on each master, where all are in use) is connected, but for flapping
    /// ones that are cut off just now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let connected = self.fleet.is_connected();
        if connected && let Some(began) = self.fleet.began.get() {
            self.fleet.connected_after.get_or_init(|| began.elapsed());
        }
        connected
    }

    /// Whether every minion that is not silent has answered a job, or sent its flood.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        let wanted = self.fleet.plan.count as u64 - self.fleet.of_kind(Kind::Silent);
        self.fleet.stats.minions_answered.load(Ordering::Relaxed) >= wanted
    }

    /// Writes the journal out.
    pub fn flush(&self) {
        self.fleet.flush();
    }

    /// What has happened so far. Members as in `docs/swarm.md`.
    #[must_use]
    pub fn shown(&self) -> Map {
        let fleet = &self.fleet;
        let rounded = |time: Duration| (time.as_secs_f64() * 1e3).round() / 1e3;
        let seconds = fleet.began.get().map_or(0.0, |began| rounded(began.elapsed()));
        let after = fleet.connected_after.get().map_or(Value::Nil, |t| Value::Float(rounded(*t)));
        let mut map = Map::from([
            ("seconds", Value::Float(seconds)),
            ("minions", Value::from(fleet.plan.count as u64)),
            ("wanted", Value::from(fleet.plan.wanted())),
            ("connected_after", after),
        ]);
        map.extend(fleet.stats.shown());
        let kinds = [
            ("failing", Kind::Failing),
            ("slow", Kind::Slow),
            ("silent", Kind::Silent),
            ("flapping", Kind::Flapping),
        ];
        let kinds = kinds.map(|(name, kind)| (name, Value::from(fleet.of_kind(kind))));
        map.insert("misbehaving", Value::from_iter(kinds));
        let places = fleet.plan.masters.iter().zip(&fleet.on);
        let masters = places
            .map(|(place, on)| (place.name.as_str(), Value::from(on.load(Ordering::Relaxed))));
        map.insert("masters", Value::from_iter(masters));
        map
    }
}

fn id(plan: &Plan, position: usize) -> Result<MinionId, String> {
    let text = plan.id_of(position);
    MinionId::parse(&text).map_err(|e| format!("--id: '{text}': {e}"))
}

/// Starts the minions at the pace of the plan.
async fn start(fleet: Arc<Fleet>, identities: Vec<Identity>) {
    let pause = match fleet.plan.rate {
        rate if rate > 0.0 => Duration::try_from_secs_f64(1.0 / rate).unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let began = tokio::time::Instant::now();
    for (position, identity) in identities.into_iter().enumerate() {
        let due = u32::try_from(position).unwrap_or(u32::MAX);
        if !pause.is_zero() {
            tokio::time::sleep_until(began + pause * due).await;
        }
        let kind = fleet.kinds.get(position).copied().unwrap_or(Kind::Good);
        let all: Vec<usize> = (0..fleet.plan.masters.len()).collect();
        let lists =
            if fleet.plan.hot { all.into_iter().map(|m| vec![m]).collect() } else { vec![all] };
        for masters in lists {
            let fleet = fleet.clone();
            tokio::spawn(minion::run(fleet, identity.clone(), position, masters, kind));
        }
    }
}

/// Who misbehaves how, by chance but the same for the same seed.
fn kinds(plan: &Plan) -> Vec<Kind> {
    let count = |percent: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let count = (plan.count as f64 * percent / 100.0).round() as usize;
        count
    };
    let shares = &plan.shares;
    let mut kinds = Vec::with_capacity(plan.count);
    for (kind, share) in [
        (Kind::Failing, shares.failing),
        (Kind::Slow, shares.slow),
        (Kind::Silent, shares.silent),
        (Kind::Flapping, shares.flapping),
    ] {
        kinds.extend(std::iter::repeat_n(kind, count(share)));
    }
    kinds.resize(plan.count, Kind::Good);
    fastrand::Rng::with_seed(plan.seed).shuffle(&mut kinds);
    kinds
}
