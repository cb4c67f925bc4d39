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
use std::time::Duration;

use saltern_base::MinionId;
use saltern_crypto::{EncAlgo, PrivateKey, SigAlgo};
use saltern_value::{Map, Value};
use saltern_wire::auth::Identity;

pub use distribution::{Distribution, NoDistribution};
pub use keys::pool;
pub use plan::{Place, Plan, Shares};

use fleet::Fleet;
use work::Kind;

/// A swarm under way.
#[derive(Clone, Debug)]
pub struct Swarm {
    fleet: Arc<Fleet>,
}

impl Swarm {
    /// Starts a swarm on the runtime that runs this; `keys` are shared among the minions in turn.
    /// Ends with the runtime.
    ///
    /// # Errors
    /// One sentence: an id is none, or a key cannot sign.
    pub fn start(plan: Plan, keys: &[PrivateKey]) -> Result<Swarm, String> {
        let mut identities: Vec<Identity> = Vec::with_capacity(plan.count);
        for position in 0..plan.count {
            let text = plan.id_of(position);
            let id = MinionId::parse(&text).map_err(|e| format!("--id: '{text}': {e}"))?;
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
        let kinds = kinds(&plan);
        let fleet = Arc::new(Fleet::new(plan)?);
        let swarm = Swarm { fleet: fleet.clone() };
        tokio::spawn(async move {
            let pause = match fleet.plan.rate {
                rate if rate > 0.0 => Duration::try_from_secs_f64(1.0 / rate).unwrap_or_default(),
                _ => Duration::ZERO,
            };
            let began = tokio::time::Instant::now();
            for ((position, identity), kind) in identities.into_iter().enumerate().zip(kinds) {
                let due = u32::try_from(position).unwrap_or(u32::MAX);
                if !pause.is_zero() {
                    tokio::time::sleep_until(began + pause * due).await;
                }
                let all: Vec<usize> = (0..fleet.plan.masters.len()).collect();
                let lists = if fleet.plan.hot {
                    all.into_iter().map(|m| vec![m]).collect()
                } else {
                    vec![all]
                };
                for masters in lists {
                    let fleet = fleet.clone();
                    tokio::spawn(minion::run(fleet, identity.clone(), position, masters, kind));
                }
            }
        });
        Ok(swarm)
    }

    /// Whether every minion (on each master, where all are in use) is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let plan = &self.fleet.plan;
        let each = if plan.hot { plan.masters.len() } else { 1 };
        self.fleet.stats.connected.load(Ordering::Relaxed) >= (plan.count * each) as u64
    }

    /// Writes the journal out.
    pub fn flush(&self) {
        self.fleet.flush();
    }

    /// Returns that masters have acknowledged.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.fleet.stats.answered.load(Ordering::Relaxed)
    }

    /// What has happened so far. Members as in `docs/swarm.md`.
    #[must_use]
    pub fn shown(&self) -> Map {
        let mut map = self.fleet.stats.shown(self.fleet.began, self.fleet.plan.count);
        let places = self.fleet.plan.masters.iter().zip(&self.fleet.on);
        let masters = places
            .map(|(place, on)| (place.name.as_str(), Value::from(on.load(Ordering::Relaxed))));
        map.insert("masters", Value::from_iter(masters));
        map
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
