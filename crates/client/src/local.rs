//! Publishing a job and collecting its returns (Salt's `LocalClient`).

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use saltern_base::Jid;
use saltern_config::MasterOptions;
use saltern_event::{Event, TRIMMED, client::Subscriber};
use saltern_value::{Map, Value};

use crate::{ClientError, Collector, Connection, Step};

/// Minions asked about in one question to the job cache: their answers travel in one reply.
const KEPT_AT_ONCE: usize = 100;

/// What to run where.
#[derive(Clone, Debug, Default)]
pub struct JobRequest {
    /// Target expression: text, or a list of ids for `list`.
    pub tgt: Value,
    /// Kind of target (`glob`, `pcre`, `list`, ...).
    pub tgt_type: String,
    /// Function, or a list of them for a compound call.
    pub fun: Value,
    /// Arguments; keyword arguments are in a last mapping marked by `__kwarg__`.
    pub arg: Vec<Value>,
    /// Returners besides the master.
    pub ret: String,
    /// Job id to use instead of a new one.
    pub jid: Option<Jid>,
    /// Further members of the publication (`metadata`, `delimiter`, `ret_config`, ...).
    pub kwargs: Map,
}

/// A job that is on its way.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its id.
    pub jid: Jid,
    /// Whom the master expects to answer.
    pub minions: Vec<String>,
    /// Ids that were asked for by name and are not known.
    pub missing: Vec<String>,
    /// Why the job may not reach everybody, if the master says so.
    pub warning: Option<String>,
}

/// One minion's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who.
    pub id: String,
    /// What the function returned.
    pub ret: Value,
    /// The outputter it asks for.
    pub out: Option<String>,
    /// 0 when all went well; the highest one of a compound call.
    pub retcode: i64,
    /// Whether the minion did not answer at all; `ret` then says so.
    pub failed: bool,
}

/// Runs jobs through a master.
pub struct LocalClient {
    connection: Connection,
    gather: Duration,
    publish_timeout: Duration,
    current: Mutex<Option<Jid>>,
}

impl LocalClient {
    /// A client of the master with these options, for that login name.
    #[must_use]
    pub fn new(opts: &MasterOptions, user: &str) -> Self {
        LocalClient {
            connection: Connection::new(opts, user),
            gather: seconds(opts.gather_job_timeout as f64),
            publish_timeout: Duration::from_secs(15),
            current: Mutex::new(None),
        }
    }

    /// The job whose returns were asked for last: what a user who interrupts the wait wants to
    /// look up later.
    #[must_use]
    pub fn current_job(&self) -> Option<Jid> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The way to the master, for other calls.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Publishes a job and does not wait for it. `Ok(None)` when no minion matches.
    ///
    /// # Errors
    /// When the master cannot be reached or refuses.
    pub async fn publish(&self, request: &JobRequest) -> Result<Option<Published>, ClientError> {
        let answer = self.connection.command(publish_load(request), self.publish_timeout).await?;
        let load = answer
            .get("load")
            .and_then(Value::as_map)
            .ok_or_else(|| ClientError::Protocol("no load in the answer to publish".into()))?;
        let Some(jid) = load.get_str("jid") else { return Ok(None) };
        let jid = Jid::parse(jid).map_err(|e| ClientError::Protocol(format!("{jid}: {e}")))?;
        Ok(Some(Published {
            jid,
            minions: texts(load.get("minions")),
            missing: texts(load.get("missing")),
            warning: load.get_str("warning").map(str::to_owned),
        }))
    }

    /// Publishes a job and begins to collect its returns. `Ok(None)` when no minion matches.
    ///
    /// # Errors
    /// As [`LocalClient::publish`], and when the event bus cannot be reached.
    pub async fn run(
        &self,
        request: &JobRequest,
        timeout: Duration,
    ) -> Result<Option<Running<'_>>, ClientError> {
        // Subscribed before it is published, so that no return can be missed.
        let mut events = self.connection.events().await?;
        events.filter("salt/job/");
        let Some(published) = self.publish(request).await? else { return Ok(None) };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(published.jid.clone());
        let now = Instant::now();
        let collector =
            Collector::new(published.minions.iter().cloned(), timeout, self.gather, now);
        Ok(Some(Running { client: self, events, published, collector, question: None, done: None }))
    }

    async fn ask(&self, jid: &Jid, ids: &[String]) -> Result<Option<Jid>, ClientError> {
        let request = JobRequest {
            tgt: Value::from(ids.to_vec()),
            tgt_type: "list".into(),
            fun: "saltutil.find_job".into(),
            arg: vec![jid.as_str().into()],
            ..JobRequest::default()
        };
        Ok(self.publish(&request).await?.map(|p| p.jid))
    }

    /// The minions that are connected; nothing when the master does not say.
    async fn connected(&self) -> Vec<String> {
        let answer = self.connection.wheel("minions.connected", Map::new()).await;
        answer.map(|result| texts(Some(&result.ret))).unwrap_or_default()
    }
}

/// A job whose returns are being collected.
pub struct Running<'a> {
    client: &'a LocalClient,
    events: Subscriber,
    /// What the master said when it was published.
    pub published: Published,
    collector: Collector,
    question: Option<Jid>,
    done: Option<VecDeque<Answer>>,
}

impl Running<'_> {
    /// The next answer; `None` when all are there or will not come. Minions that did not answer
    /// come last, with [`Answer::failed`] set.
    ///
    /// # Errors
    /// When the master goes away meanwhile.
    pub async fn next(&mut self) -> Result<Option<Answer>, ClientError> {
        loop {
            if let Some(silent) = &mut self.done {
                return Ok(silent.pop_front());
            }
            match self.collector.step(Instant::now()) {
                Step::Finished(missing) => {
                    let missing = self.look_up(missing).await;
                    let silent = self.silent(missing).await;
                    self.done.get_or_insert_default().extend(silent);
                }
                Step::Ask(ids) => {
                    self.question = self.client.ask(&self.published.jid, &ids).await?;
                    self.collector.asked(Instant::now());
                }
                Step::Wait(until) => {
                    let event = tokio::time::timeout_at(until.into(), self.events.next()).await;
                    let Ok(event) = event else { continue };
                    let Ok(Some(event)) = event else { return Err(ClientError::MasterEnded) };
                    if let Some(answer) = self.on_event(event) {
                        return Ok(Some(self.whole(answer).await));
                    }
                }
            }
        }
    }

    /// Takes the answers out of the job cache that did not come as events, because the bus was
    /// faster than this program for too long; gives those minions that are not there either.
    async fn look_up(&mut self, mut missing: Vec<String>) -> Vec<String> {
        let jid = &self.published.jid;
        let mut late = VecDeque::new();
        for ids in missing.chunks(KEPT_AT_ONCE) {
            let kept = self.client.connection.kept_returns(jid, ids).await;
            late.extend(kept.into_iter().filter_map(|(id, ret)| match (id, ret) {
                (Value::Str(id), Value::Map(ret)) => Some(answer(id, &ret)),
                _ => None,
            }));
        }
        let found: HashSet<String> = late.iter().map(|answer| answer.id.clone()).collect();
        missing.retain(|id| !found.contains(id));
        self.done = Some(late);
        missing
    }

    /// Answers for those who gave none: Salt tells minions without a connection from silent ones,
    /// and only when any minion is connected at all.
    async fn silent(&self, missing: Vec<String>) -> VecDeque<Answer> {
        let jid = &self.published.jid;
        let connected: HashSet<String> = if missing.is_empty() {
            HashSet::new()
        } else {
            self.client.connected().await.into_iter().collect()
        };
        let known: HashSet<&String> = missing.iter().collect();
        let unknown = self.published.missing.iter().filter(|id| !known.contains(*id));
        let mut silent: VecDeque<_> = missing
            .iter()
            .map(|id| {
                if connected.is_empty() || connected.contains(id) {
                    no_response(id.clone(), jid)
                } else {
                    not_connected(id.clone())
                }
            })
            .collect();
        silent.extend(unknown.map(|id| no_response(id.clone(), jid)));
        silent
    }

    /// An answer that was too long for the event bus, from the job cache; as it is when that
    /// cannot be had.
    async fn whole(&self, mut answer: Answer) -> Answer {
        if trimmed(&answer.ret) {
            let kept = self.client.connection.kept_return(&self.published.jid, &answer.id).await;
            if let Some(ret) = kept {
                answer.ret = ret;
            }
        }
        answer
    }

    fn on_event(&mut self, event: Event) -> Option<Answer> {
        let rest = event.tag.strip_prefix("salt/job/")?;
        let (jid, kind) = rest.split_once('/')?;
        let id = event.data.get_str("id").map(str::to_owned);
        if jid == self.published.jid.as_str() {
            if kind.starts_with("ret/") {
                let id = id?;
                let first = self.collector.returned(&id, Instant::now());
                return first.then(|| answer(id, &event.data));
            }
            if kind != "new" {
                self.collector.expect(texts(event.data.get("minions")));
            }
        } else if self.question.as_ref().is_some_and(|q| q.as_str() == jid)
            && kind.starts_with("ret/")
        {
            let running = event.data.get("return").is_some_and(Value::truthy);
            self.collector.answered(&id?, running);
        }
        None
    }
}

fn publish_load(request: &JobRequest) -> Map {
    let mut load = Map::from([
        ("cmd", Value::from("publish")),
        ("tgt", request.tgt.clone()),
        ("fun", request.fun.clone()),
        ("arg", Value::List(request.arg.clone())),
        ("tgt_type", request.tgt_type.as_str().into()),
        ("ret", request.ret.as_str().into()),
        ("jid", request.jid.as_ref().map_or("", Jid::as_str).into()),
    ]);
    if !request.kwargs.is_empty() {
        load.insert("kwargs", request.kwargs.clone());
    }
    load
}

fn answer(id: String, data: &Map) -> Answer {
    let ret = data.get("return").cloned().unwrap_or_default();
    let retcode = match data.get("retcode") {
        Some(Value::Map(codes)) => codes.values().filter_map(Value::as_int).max().unwrap_or(0),
        Some(Value::List(codes)) => codes.iter().filter_map(Value::as_int).max().unwrap_or(0),
        Some(code) => code.as_int().unwrap_or(i64::from(code.truthy())),
        None => 0,
    };
    let out = data.get_str("out").map(str::to_owned);
    Answer { id, ret, out, retcode, failed: false }
}

fn no_response(id: String, jid: &Jid) -> Answer {
    let text = format!(
        "Minion did not return. [No response]\nThe minions may not have all finished running and \
         any remaining minions will return upon completion. To look up the return data for this \
         job later, run the following command:\n\nsalt-run jobs.lookup_jid {jid}"
    );
    no_return(id, text)
}

pub(crate) fn not_connected(id: String) -> Answer {
    no_return(id, "Minion did not return. [Not connected]".to_owned())
}

fn no_return(id: String, text: String) -> Answer {
    Answer { id, ret: text.into(), out: Some("no_return".into()), retcode: 1, failed: true }
}

/// Whether a part of the value was left out because the event was too long.
pub(crate) fn trimmed(value: &Value) -> bool {
    match value {
        Value::Str(text) => text == TRIMMED,
        Value::List(items) => items.iter().any(trimmed),
        Value::Map(map) => map.values().any(trimmed),
        _ => false,
    }
}

fn texts(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_list)
        .map(|l| l.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Seconds as Salt's options give them; nonsense counts as none.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}
