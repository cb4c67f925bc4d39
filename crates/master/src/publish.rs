//! Publishing of jobs: resolve the target, keep the job, announce it, seal and send it. In that
//! order: whoever gets the answer or a return finds the job in the job cache.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use saltern_base::Jid;
use saltern_crypto::CryptoError;
use saltern_event::tags;
use saltern_store::jobs::NewJob;
use saltern_transport::zeromq::{Audience, Publisher};
use saltern_value::{Map, Value};
use saltern_wire::command::Publish;
use saltern_wire::publish::{Job, Sealer};
use saltern_wire::topic;

use crate::context::Shared;
use crate::keys::Keys;
use crate::targets::Reach;

/// A job that went out.
pub(crate) struct Published {
    /// Its id.
    pub(crate) jid: Jid,
    /// The minions expected to answer.
    pub(crate) minions: Vec<String>,
    /// Ids that were named but are not accepted.
    pub(crate) missing: Vec<String>,
}

/// Why a job did not go out.
#[derive(Debug)]
pub(crate) enum PublishError {
    /// Nobody is meant by this target.
    Nobody(String),
    /// The job cache or OpenSSL failed.
    Failed(String),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Salt's words: its tools show them as they are.
            PublishError::Nobody(tgt) => {
                write!(f, "Master could not resolve minions for target {tgt}")
            }
            PublishError::Failed(why) => write!(f, "The job was not published: {why}"),
        }
    }
}

/// A job without arguments that the master itself publishes.
pub(crate) fn new_job(tgt: Value, tgt_type: &str, fun: &str, user: &str) -> Publish {
    let load = Map::from([
        ("cmd", Value::from("publish")),
        ("tgt", tgt.clone()),
        ("fun", fun.into()),
        ("arg", Value::List(Vec::new())),
        ("tgt_type", tgt_type.into()),
        ("ret", "".into()),
        ("user", user.into()),
    ]);
    Publish {
        tgt,
        tgt_type: tgt_type.to_owned(),
        fun: fun.into(),
        arg: Vec::new(),
        ret: String::new(),
        jid: None,
        to: None,
        kwargs: Map::new(),
        user: user.to_owned(),
        load,
    }
}

impl Shared {
    /// Publishes a job whose sender is authorised.
    ///
    /// # Errors
    /// [`PublishError`].
    pub(crate) async fn publish(
        self: &Arc<Self>,
        mut job: Publish,
    ) -> Result<Published, PublishError> {
        let shown_tgt = shown(&job.tgt);
        let jid = job.jid.clone().unwrap_or_else(|| self.jobs.allocate());
        let (tgt, tgt_type, delimiter) =
            (job.tgt.clone(), job.tgt_type.clone(), delimiter(&job.kwargs));
        let resolved = self
            .compute(move |shared| shared.resolve(tgt, &tgt_type, &delimiter))
            .await
            .map_err(PublishError::Failed)?;
        let (tgt, tgt_type, expected) = resolved.map_err(|why| {
            log::info!("Target {shown_tgt} of type {} is unusable: {why}", job.tgt_type);
            PublishError::Nobody(shown_tgt.clone())
        })?;
        if expected.minions.is_empty() {
            return Err(PublishError::Nobody(shown_tgt));
        }
        let reach = expected.reach;
        let published = Published { jid, minions: expected.minions, missing: expected.missing };
        (job.tgt, job.tgt_type) = (tgt, tgt_type);
        let _sending = self.drain.publishing.read().await;
        self.keep(&job, &published).await?;
        self.announce(&job, &published);
        let mut sent =
            Job::new(job.fun, job.arg, job.tgt, &job.tgt_type, published.jid.clone(), &job.user)
                .with_kwargs(&job.kwargs);
        sent.ret = job.ret;
        sent.to = job.to;
        let minions = published.minions.clone();
        self.compute(move |shared| shared.outlet.send(&sent, &minions, &reach))
            .await
            .map_err(PublishError::Failed)?
            .map_err(|e| PublishError::Failed(e.to_string()))?;
        log::info!("Published job {} to {} minions", published.jid, published.minions.len());
        Ok(published)
    }

    fn resolve(
        &self,
        tgt: Value,
        tgt_type: &str,
        delimiter: &str,
    ) -> Result<(Value, String, crate::targets::Expected), String> {
        let (mut tgt, tgt_type) = self.targets.published_form(tgt, tgt_type)?;
        if tgt_type == "list"
            && let Some(text) = tgt.as_str()
        {
            let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
            tgt = Value::List(ids.map(Value::from).collect());
        }
        let expected = self.targets.expected(&tgt, &tgt_type, delimiter, true)?;
        Ok((tgt, tgt_type, expected))
    }

    async fn keep(&self, job: &Publish, published: &Published) -> Result<(), PublishError> {
        let mut load = job.load.clone();
        load.insert("jid", published.jid.as_str());
        let kept = NewJob {
            jid: published.jid.clone(),
            load,
            minions: published.minions.clone(),
            nocache: job.kwargs.get("nocache").is_some_and(Value::truthy),
        };
        self.jobs.save(kept).await.map_err(|e| PublishError::Failed(e.to_string()))
    }

    fn announce(&self, job: &Publish, published: &Published) {
        let minions = Value::from(published.minions.clone());
        self.fire(published.jid.as_str(), Map::from([("minions", minions.clone())]));
        self.fire(
            &tags::job_new(published.jid.as_str()),
            Map::from([
                ("jid", Value::from(published.jid.as_str())),
                ("tgt_type", job.tgt_type.as_str().into()),
                ("tgt", job.tgt.clone()),
                ("user", job.user.as_str().into()),
                ("fun", job.fun.clone()),
                ("arg", Value::List(job.arg.clone())),
                ("minions", minions),
                ("missing", published.missing.clone().into()),
            ]),
        );
    }
}

/// What stands between the levels of a grain or pillar path in this job's target.
pub(crate) fn delimiter(kwargs: &Map) -> String {
    kwargs.get_str("delimiter").filter(|d| !d.is_empty()).unwrap_or(":").to_owned()
}

fn shown(tgt: &Value) -> String {
    match tgt {
        Value::Str(text) => text.clone(),
        other => saltern_value::pyrepr::repr(other),
    }
}

/// The way out: seals publications one after the other and hands them to the publish port. The
/// AES key changes under the same lock, so no serial is ever used with two keys (trap T11).
pub(crate) struct Outlet {
    sealer: Mutex<Sealer>,
    publisher: Arc<Publisher>,
    filtering: bool,
}

impl Outlet {
    /// An outlet; `filtering` is the option `zmq_filtering`.
    pub(crate) fn new(sealer: Sealer, publisher: Arc<Publisher>, filtering: bool) -> Self {
        Outlet { sealer: Mutex::new(sealer), publisher, filtering }
    }

    /// Seals and sends; computes a signature.
    ///
    /// # Errors
    /// When OpenSSL fails.
    fn send(&self, job: &Job, minions: &[String], reach: &Reach) -> Result<(), CryptoError> {
        let mut sealer = self.lock();
        let payload: Arc<[u8]> = sealer.seal(job)?.into();
        let mut dropped = 0;
        if !self.filtering {
            let topics: Vec<String>;
            let audience = match reach {
                Reach::Everybody => Audience::Everybody { topic: topic::BROADCAST },
                Reach::Minions(ids) => {
                    topics = ids.iter().map(|id| topic::of_minion(id)).collect();
                    Audience::Topics(&topics)
                }
            };
            dropped += self.publisher.deliver(audience, payload).dropped;
        } else if topic::is_addressed(&job.tgt_type) {
            for id in minions {
                let topic = topic::of_minion(id);
                dropped += self.publisher.publish(Some(&topic), Arc::clone(&payload)).dropped;
            }
        } else {
            dropped += self.publisher.publish(Some(topic::BROADCAST), payload).dropped;
        }
        if dropped > 0 {
            log::warn!("Job {}: {dropped} subscribers did not get it (pub_hwm, or gone)", job.jid);
        }
        Ok(())
    }

    /// Replaces the AES key of `keys` and of the publications in one step.
    ///
    /// # Errors
    /// When OpenSSL fails; the former key stays.
    pub(crate) fn rotate(&self, keys: &Keys) -> Result<(), CryptoError> {
        let mut sealer = self.lock();
        let fresh = keys.rotate()?;
        sealer.rotate(fresh.key().clone());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Sealer> {
        self.sealer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
