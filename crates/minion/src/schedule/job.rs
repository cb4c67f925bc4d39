//! One job of the schedule, read from its definition. Pure.

use std::time::Duration;

use saltern_base::time::Civil;
use saltern_value::{Map, Value};

use super::when::{Calendar, Cron, Moment, Range, When, parse_rank, rank, time_of_day};

/// What is done, and when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// `module.function`.
    pub(crate) function: String,
    /// Positional arguments; keyword arguments as a last mapping, marked as such.
    pub(crate) arg: Vec<Value>,
    /// When it starts.
    pub(crate) trigger: Trigger,
    /// Random delay before each start.
    pub(crate) splay: (Duration, Duration),
    /// How many may run at a time.
    pub(crate) maxrunning: usize,
    /// Start once as soon as the minion runs.
    pub(crate) run_on_start: bool,
    pub(crate) enabled: bool,
    /// Send what it returns to a master.
    pub(crate) return_job: bool,
    /// Carried along in the return.
    pub(crate) metadata: Option<Value>,
    limits: Limits,
}

/// When a job starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trigger {
    /// `seconds`, `minutes`, `hours`, `days`, added up.
    Every(Duration),
    /// At times of the calendar.
    At(Calendar),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Limits {
    range: Option<Range>,
    after: Option<(i64, u32, u32, Moment)>,
    until: Option<(i64, u32, u32, Moment)>,
}

/// Keys that change what a job does and that are not acted on here: a job with one does not run,
/// which is better than one that runs otherwise than it was meant to.
const UNSUPPORTED: [&str; 5] =
    ["skip_during_range", "run_after_skip_range", "returner", "return_config", "return_kwargs"];

impl Job {
    /// Reads a definition.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub(crate) fn read(definition: &Map) -> Result<Self, String> {
        if let Some(key) = UNSUPPORTED.iter().find(|k| definition.contains_key(k)) {
            return Err(format!("{key} is not available here; take it out to have the job run"));
        }
        let function = definition
            .get_str("function")
            .or_else(|| definition.get_str("func"))
            .filter(|f| f.contains('.'))
            .ok_or("function must name what is to be run, as module.function")?;
        let flag = |name: &str, default: bool| definition.get(name).map_or(default, Value::truthy);
        let maxrunning = match definition.get("maxrunning") {
            None => 1,
            Some(n) => count(n).ok_or("maxrunning must be a number from 1 on")?,
        };
        Ok(Job {
            function: function.to_owned(),
            arg: arguments(definition)?,
            trigger: trigger(definition)?,
            splay: splay(definition.get("splay"))?,
            maxrunning,
            run_on_start: flag("run_on_start", false),
            enabled: flag("enabled", true),
            return_job: flag("return_job", true),
            metadata: definition.get("metadata").cloned(),
            limits: Limits::read(definition)?,
        })
    }

    /// Whether it may start at this time (`range`, `after`, `until`).
    pub(crate) fn allowed(&self, at: &Civil) -> bool {
        let now = rank(at);
        self.limits.range.as_ref().is_none_or(|range| range.allows(at))
            && self.limits.after.is_none_or(|after| now > after)
            && self.limits.until.is_none_or(|until| now <= until)
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_int().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
}

fn arguments(definition: &Map) -> Result<Vec<Value>, String> {
    let mut arg = match definition.get("args") {
        None | Some(Value::Nil) => Vec::new(),
        Some(Value::List(list)) => list.clone(),
        Some(_) => return Err("args must be a list".to_owned()),
    };
    match definition.get("kwargs") {
        None | Some(Value::Nil) => {}
        Some(Value::Map(kwargs)) => {
            let mut kwargs = kwargs.clone();
            kwargs.insert("__kwarg__", true);
            arg.push(Value::Map(kwargs));
        }
        Some(_) => return Err("kwargs must be a mapping".to_owned()),
    }
    Ok(arg)
}

fn trigger(definition: &Map) -> Result<Trigger, String> {
    const UNITS: [(&str, u64); 4] =
        [("seconds", 1), ("minutes", 60), ("hours", 3600), ("days", 86_400)];
    let mut every = Duration::ZERO;
    for (unit, seconds) in UNITS {
        if let Some(value) = definition.get(unit).filter(|v| !v.is_nil()) {
            let amount = number(value).ok_or_else(|| format!("{unit} must be a number"))?;
            every += Duration::try_from_secs_f64(amount * seconds as f64)
                .map_err(|e| format!("{unit}: {e}"))?;
        }
    }
    let text = |name: &str| definition.get(name).filter(|v| !v.is_nil());
    let mut found = Vec::new();
    if !every.is_zero() {
        found.push(Trigger::Every(every.max(Duration::from_secs(1))));
    }
    if let Some(value) = text("cron") {
        let line = value.as_str().ok_or("cron must be a text")?;
        found.push(Trigger::At(Calendar::Cron(Cron::parse(line)?)));
    }
    if let Some(value) = text("when") {
        found.push(Trigger::At(Calendar::When(times(value)?)));
    }
    if let Some(value) = text("once") {
        if definition.get_str("once_fmt").is_some_and(|f| f != "%Y-%m-%dT%H:%M:%S") {
            return Err("once_fmt is not available here; write once: 2026-11-23T17:00:00".into());
        }
        let time = value.as_str().ok_or("once must be a text")?;
        found.push(Trigger::At(Calendar::Once(When::parse(time)?)));
    }
    match (found.pop(), found.is_empty()) {
        (Some(trigger), true) => Ok(trigger),
        (Some(_), false) => {
            Err("only one of an interval, when, cron and once can be given".to_owned())
        }
        (None, _) => Err("one of seconds, minutes, hours, days, when, cron, once is needed".into()),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        Value::Str(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn times(value: &Value) -> Result<Vec<When>, String> {
    let list = match value {
        Value::List(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    list.iter().map(|v| When::parse(v.as_str().ok_or("when must be a text or a list")?)).collect()
}

fn splay(value: Option<&Value>) -> Result<(Duration, Duration), String> {
    let seconds = |value: Option<&Value>| {
        value
            .and_then(number)
            .and_then(|n| Duration::try_from_secs_f64(n).ok())
            .ok_or("splay must be a number of seconds, or start and end in seconds")
    };
    match value {
        None | Some(Value::Nil) => Ok((Duration::ZERO, Duration::ZERO)),
        Some(Value::Map(map)) => {
            let (start, end) = (seconds(map.get("start"))?, seconds(map.get("end"))?);
            if start > end { Err("splay: start is after end".into()) } else { Ok((start, end)) }
        }
        some => Ok((Duration::ZERO, seconds(some)?)),
    }
}

impl Limits {
    fn read(definition: &Map) -> Result<Self, String> {
        let limit = |name: &str| match definition.get_str(name) {
            None => Ok(None),
            Some(text) => parse_rank(text).map(Some).map_err(|e| format!("{name}: {e}")),
        };
        let range = match definition.get("range") {
            None | Some(Value::Nil) => None,
            Some(range) => {
                let time = |name: &str| {
                    let text = range.get(name).and_then(Value::as_str).unwrap_or_default();
                    time_of_day(text)
                        .ok_or_else(|| format!("range: {name} must be a time such as 8:00am"))
                };
                let invert = range.get("invert").is_some_and(Value::truthy);
                Some(Range { start: time("start")?, end: time("end")?, invert })
            }
        };
        Ok(Limits { range, after: limit("after")?, until: limit("until")? })
    }
}
