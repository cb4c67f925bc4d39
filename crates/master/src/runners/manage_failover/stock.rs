//! Stock minions report nothing. What their options say of failover can be asked; whether another
//! master would take them cannot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use saltern_value::Value;
use tokio::task::JoinSet;

use super::row::Fate;
use crate::context::Shared;
use crate::runners::ping;

/// More are not asked: each starts a process for each answer.
const MOST: usize = 1000;

/// Time for the answers, and for the question whether somebody still works on one.
const TIMEOUT: Duration = Duration::from_secs(8);
const GATHER: Duration = Duration::from_secs(3);

/// The options that decide. With `master_type: failover` a stock minion has the master in use in
/// `master` and the list in `master_list`. With several at a time each connection answers for
/// itself; all but the first of them have `beacons_leader: False`.
const OPTIONS: [&str; 6] = [
    "master_type",
    "master",
    "master_list",
    "beacons_leader",
    "master_alive_interval",
    "verify_master_pubkey_sign",
];

/// What one minion answered, by option.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer(BTreeMap<&'static str, Value>);

/// Asks these minions for their options.
pub(super) async fn ask(shared: &Arc<Shared>, ids: Vec<String>) -> BTreeMap<String, Answer> {
    let mut answers: BTreeMap<String, Answer> = BTreeMap::new();
    if ids.is_empty() || ids.len() > MOST {
        return answers;
    }
    let mut questions = JoinSet::new();
    for option in OPTIONS {
        let (shared, ids) = (Arc::clone(shared), ids.clone());
        questions.spawn(async move {
            let question = ("config.get", vec![Value::from(option)]);
            let (timeout, gather) = (Some(TIMEOUT), Some(GATHER));
            (option, ping::ask(&shared, ids.into(), "list", question, timeout, gather).await)
        });
    }
    while let Some(done) = questions.join_next().await {
        match done {
            Ok((option, Ok(asked))) => {
                for (id, load) in asked.answers {
                    let value = load.get("return").cloned().unwrap_or_default();
                    answers.entry(id).or_default().0.insert(option, value);
                }
            }
            Ok((option, Err(error))) => log::warn!("Minions not asked for {option}: {error}"),
            Err(error) => log::error!("Minions not asked: {error}"),
        }
    }
    answers
}

impl Answer {
    fn option(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Nil)
    }

    /// Its name for the master in use.
    pub(super) fn master(&self) -> Option<String> {
        match self.option("master") {
            Value::Str(name) if !name.is_empty() => Some(name.clone()),
            Value::List(names) => names.first()?.as_str().map(str::to_owned),
            _ => None,
        }
    }

    /// What becomes of it when its master dies.
    pub(super) fn judge(&self) -> (Fate, String) {
        let lost = |why: &str| (Fate::Lost, format!("stock minion: {why}"));
        let unknown = |why: String| (Fate::Unknown, format!("stock minion: {why}"));
        let Some(master_type) = self.option("master_type").as_str() else {
            return unknown("did not answer the question for its options".to_owned());
        };
        let listed = [self.option("master_list"), self.option("master")]
            .into_iter()
            .find_map(Value::as_list)
            .map_or(1, <[Value]>::len);
        let interval = self.option("master_alive_interval").as_f64().unwrap_or(0.0);
        match master_type {
            "failover" | "distributed" if listed < 2 => lost("has one master only"),
            "failover" | "distributed" if interval <= 0.0 => {
                lost("never leaves a dead master (master_alive_interval is 0)")
            }
            "failover" | "distributed" => {
                let keys = if self.option("verify_master_pubkey_sign").truthy() {
                    "whose keys the signing key vouches for"
                } else {
                    "that have the same key (verify_master_pubkey_sign is off)"
                };
                unknown(format!(
                    "has {listed} masters and goes only to those {keys}; whether they take it \
                     cannot be known"
                ))
            }
            _ if listed > 1 || self.option("beacons_leader") == &Value::Bool(false) => unknown(
                "uses several masters at a time; whether the others take it cannot be known"
                    .to_owned(),
            ),
            _ => lost(
                "does not leave a dead master (master_type is str); only if its list names \
                 several do the others keep it",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(options: &[(&'static str, Value)]) -> Fate {
        Answer(options.iter().cloned().collect()).judge().0
    }

    #[test]
    fn options_decide_what_can_be_known() {
        let masters = Value::from(vec!["m1".to_owned(), "m2".to_owned()]);
        let failover = ("master_type", Value::from("failover"));
        let alive = ("master_alive_interval", Value::from(30));
        let two = ("master_list", masters);
        assert_eq!(fate(&[]), Fate::Unknown);
        assert_eq!(fate(&[("master_type", "str".into()), ("master", "m1".into())]), Fate::Lost);
        assert_eq!(
            fate(&[("master_type", "str".into()), ("beacons_leader", false.into())]),
            Fate::Unknown
        );
        assert_eq!(fate(&[failover.clone(), two.clone(), alive.clone()]), Fate::Unknown);
        assert_eq!(fate(&[failover.clone(), two]), Fate::Lost, "no alive interval");
        assert_eq!(fate(&[failover, alive, ("master_list", "".into())]), Fate::Lost);
    }
}
