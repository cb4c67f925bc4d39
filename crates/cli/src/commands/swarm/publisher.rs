//! The swarm's own publisher: jobs published again and again through the master of this host.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use saltern_client::{JobRequest, LocalClient};
use saltern_config::load_master;
use saltern_modules::{condition_input, parse_args, split_words};
use saltern_target::{Expression, Options};
use saltern_value::{Map, Value, yaml};
use tokio::time::MissedTickBehavior;

use super::Args;
use crate::exit::Failure;
use crate::user;

/// Shortest time between two publications of one job.
const SHORTEST: Duration = Duration::from_millis(10);

/// Different errors kept by name; further ones count as `other`.
const ERRORS: usize = 20;

/// What an entry of a mix may have.
const MEMBERS: [&str; 6] = ["fun", "arg", "kwarg", "tgt", "tgt_type", "every"];

/// A client and what it publishes how often.
pub(super) struct Publisher {
    client: Arc<LocalClient>,
    /// What has not begun yet.
    waiting: Vec<(JobRequest, Duration)>,
    done: Arc<Mutex<Done>>,
}

/// What became of the publications.
#[derive(Default)]
struct Done {
    jobs: u64,
    nobody: u64,
    errors: BTreeMap<String, u64>,
}

impl Publisher {
    /// What the options amount to; nothing where no job is wanted.
    pub(super) fn of(args: &Args) -> Result<Option<Self>, Failure> {
        let mut jobs = Vec::new();
        if let Some(text) = &args.publish {
            let (fun, arg) = called(text)
                .map_err(|why| Failure::usage(format!("--publish: '{text}': {why}")))?;
            jobs.push((request(&fun, arg, args.target.as_str().into(), "glob"), args.every));
        }
        if let Some(path) = &args.mix {
            let told = |why: String| Failure::usage(format!("--mix: {}: {why}", path.display()));
            let text = fs::read_to_string(path).map_err(|e| told(e.to_string()))?;
            let mix = yaml::load(&text).map_err(|e| told(e.to_string()))?;
            let mix = mix.as_list().ok_or_else(|| told("it is no list of jobs".to_owned()))?;
            for (position, job) in mix.iter().enumerate() {
                let job = mixed(job, args.every)
                    .map_err(|why| told(format!("job {}: {why}", position + 1)))?;
                jobs.push(job);
            }
        }
        if jobs.is_empty() {
            return Ok(None);
        }
        let loaded = load_master(&args.common.config_dir())?;
        let client = Arc::new(LocalClient::new(&loaded.opts, &user::publisher()));
        Ok(Some(Publisher { client, waiting: jobs, done: Arc::default() }))
    }

    /// Begins to publish, until the runtime ends. Has begun only once, however often it is told.
    pub(super) fn begin(&mut self) {
        for (request, every) in self.waiting.drain(..) {
            let (client, done) = (self.client.clone(), self.done.clone());
            tokio::spawn(async move {
                let mut due = tokio::time::interval(every.max(SHORTEST));
                due.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    due.tick().await;
                    let published = client.publish(&request).await;
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match published {
                        Ok(Some(_)) => done.jobs += 1,
                        Ok(None) => done.nobody += 1,
                        Err(error) => done.error(error.to_string()),
                    }
                }
            });
        }
    }

    /// How many went out, how many meant nobody, and what went wrong how often.
    pub(super) fn counts(&self) -> (u64, u64, Vec<(String, u64)>) {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = done.errors.iter().map(|(what, count)| (what.clone(), *count)).collect();
        (done.jobs, done.nobody, errors)
    }

    /// Publications so far: those that went out, that meant nobody, that failed and why.
    pub(super) fn shown(&self) -> Value {
        let (jobs, nobody, errors) = self.counts();
        let errors = errors.into_iter().map(|(what, count)| (what, Value::from(count)));
        Value::from_iter([
            ("jobs", Value::from(jobs)),
            ("nobody", Value::from(nobody)),
            ("errors", Value::from_iter(errors)),
        ])
    }
}

impl Done {
    fn error(&mut self, what: String) {
        let known = self.errors.len() < ERRORS || self.errors.contains_key(&what);
        *self.errors.entry(if known { what } else { "other".to_owned() }).or_default() += 1;
    }
}

/// A function and its arguments, as after the target of `salt`.
fn called(text: &str) -> Result<(String, Vec<Value>), String> {
    let mut words = split_words(text).map_err(|_| "a quote in it is not closed")?.into_iter();
    let fun = words.next().ok_or("it names no function")?;
    if fun.contains(',') {
        return Err("it names several functions; --mix takes them as jobs of their own".to_owned());
    }
    let words: Vec<String> = words.collect();
    let (positional, keywords) = parse_args(&words, &[]);
    Ok((fun, condition_input(positional, keywords)))
}

/// One entry of a mix.
fn mixed(job: &Value, every: Duration) -> Result<(JobRequest, Duration), String> {
    let job = job.as_map().ok_or("it is no mapping")?;
    let fun = job.get_str("fun").ok_or("it has no fun")?;
    for name in job.iter().filter_map(|(name, _)| name.as_str()) {
        if !MEMBERS.contains(&name) {
            return Err(format!("'{name}' is not known; use {}", MEMBERS.join(", ")));
        }
    }
    let arg = match job.get("arg") {
        None => Vec::new(),
        Some(Value::List(arg)) => arg.clone(),
        Some(one) => vec![one.clone()],
    };
    let keywords = match job.get("kwarg") {
        None => Map::new(),
        Some(kwarg) => kwarg.as_map().ok_or("kwarg is no mapping")?.clone(),
    };
    let arg = condition_input(arg, keywords);
    let every = match job.get("every") {
        None => every,
        Some(seconds) => seconds
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or("every is no number of seconds")?,
    };
    let tgt = job.get("tgt").cloned().unwrap_or_else(|| "*".into());
    let tgt_type = job.get_str("tgt_type").unwrap_or("glob");
    if tgt_type != "nodegroup" {
        Expression::parse(tgt_type, &tgt, &Options::default()).map_err(|why| why.to_string())?;
    }
    Ok((request(fun, arg, tgt, tgt_type), every))
}

fn request(fun: &str, arg: Vec<Value>, tgt: Value, tgt_type: &str) -> JobRequest {
    JobRequest {
        tgt,
        tgt_type: tgt_type.to_owned(),
        fun: fun.into(),
        arg,
        kwargs: Map::new(),
        ..JobRequest::default()
    }
}
