//! The job map as masters send it.

use saltern_base::Jid;
use saltern_value::{Map, Value};

/// A job to publish. Members that are `None` are not sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Function, or a list of them.
    pub fun: Value,
    /// Arguments; named ones are a trailing mapping with `__kwarg__`.
    pub arg: Vec<Value>,
    /// Target.
    pub tgt: Value,
    /// Job id.
    pub jid: Jid,
    /// Returners, comma separated.
    pub ret: String,
    /// Id of a syndic or cluster, copied into the return.
    pub master_id: Option<Value>,
    /// Delimiter of grain and pillar targets, when it is not `:`.
    pub delimiter: Option<Value>,
    /// The minion that had this published.
    pub id: Option<Value>,
    /// How to read the target.
    pub tgt_type: String,
    /// Time-out for syndics.
    pub to: Option<Value>,
    /// Configuration of the returner.
    pub ret_config: Option<Value>,
    /// Copied into the return.
    pub metadata: Option<Value>,
    /// Executors to use instead of the minion's.
    pub module_executors: Option<Value>,
    /// Their options.
    pub executor_opts: Option<Value>,
    /// Arguments of the returner.
    pub ret_kwargs: Option<Value>,
    /// Have the minion fire an event when it starts (3008).
    pub start_event: Option<Value>,
    /// Who published it.
    pub user: String,
}

impl Job {
    /// A job without any of the rare members.
    #[must_use]
    pub fn new(
        fun: Value,
        arg: Vec<Value>,
        tgt: Value,
        tgt_type: &str,
        jid: Jid,
        user: &str,
    ) -> Self {
        Job {
            fun,
            arg,
            tgt,
            jid,
            ret: String::new(),
            master_id: None,
            delimiter: None,
            id: None,
            tgt_type: tgt_type.to_owned(),
            to: None,
            ret_config: None,
            metadata: None,
            module_executors: None,
            executor_opts: None,
            ret_kwargs: None,
            start_event: None,
            user: user.to_owned(),
        }
    }

    /// Takes over what the options of a `publish` request say about the job.
    #[must_use]
    pub fn with_kwargs(mut self, kwargs: &Map) -> Self {
        let set = |field: &str| kwargs.get(field).filter(|v| v.truthy()).cloned();
        self.master_id = set("master_id");
        self.delimiter = set("delimiter").filter(|d| d.as_str() != Some(":"));
        self.id = set("id");
        self.ret_config = set("ret_config");
        self.metadata = set("metadata");
        self.module_executors = set("module_executors");
        self.executor_opts = set("executor_opts");
        self.ret_kwargs = set("ret_kwargs");
        self.start_event = set("start_event");
        self
    }

    /// The map as sent, in Salt's order, without `serial`.
    #[must_use]
    pub fn to_map(&self) -> Map {
        let mut map = Map::from([
            ("fun", self.fun.clone()),
            ("arg", Value::List(self.arg.clone())),
            ("tgt", self.tgt.clone()),
            ("jid", Value::from(self.jid.as_str())),
            ("ret", Value::from(self.ret.as_str())),
        ]);
        let mut rare = |name: &str, value: &Option<Value>| {
            if let Some(value) = value {
                map.insert(name, value.clone());
            }
        };
        rare("master_id", &self.master_id);
        rare("delimiter", &self.delimiter);
        rare("id", &self.id);
        rare("tgt_type", &Some(Value::from(self.tgt_type.as_str())));
        rare("to", &self.to);
        rare("ret_config", &self.ret_config);
        rare("metadata", &self.metadata);
        rare("module_executors", &self.module_executors);
        rare("executor_opts", &self.executor_opts);
        rare("ret_kwargs", &self.ret_kwargs);
        rare("start_event", &self.start_event);
        map.insert("user", self.user.as_str());
        map
    }
}
