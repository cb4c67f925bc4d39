//! Commands of signed-in minions (wire-protocol §7).

use saltern_base::Jid;
use saltern_value::{Map, Value};

use super::fields::{FieldError, Fields};
use super::parse::jid;

/// The command of [`MinionCommand::Notice`].
pub const NOTICE: &str = "_saltern_notice";

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum MinionCommand {
    /// `_return`: the result of a job.
    Return(Return),
    /// `_syndic_return`: results that a syndic passes on.
    SyndicReturn(Map),
    /// `_pillar`
    Pillar(Pillar),
    /// `_minion_event`
    MinionEvent(MinionEvent),
    /// `_mine`: store mine data.
    Mine(Mine),
    /// `_mine_get`
    MineGet(MineGet),
    /// `_mine_delete`: forget one function's data.
    MineDelete {
        /// The function.
        fun: String,
    },
    /// `_mine_flush`: forget all mine data of the minion.
    MineFlush,
    /// `_file_find`
    FileFind(FilePath),
    /// `_file_hash`
    FileHash(FilePath),
    /// `_file_hash_and_stat`
    FileHashAndStat(FilePath),
    /// `_serve_file`: one piece of a file.
    ServeFile(ServeFile),
    /// `_file_list`
    FileList(FileList),
    /// `_file_list_emptydirs`
    FileListEmptydirs(FileList),
    /// `_dir_list`
    DirList(FileList),
    /// `_symlink_list`
    SymlinkList(FileList),
    /// `_file_envs`
    FileEnvs,
    /// `_saltern_notice`, which Salt does not know: what a master says of itself at a sign-in, as it is
    /// now.
    Notice,
    /// `_master_opts`
    MasterOpts {
        /// Only the options about environments.
        env_only: bool,
    },
    /// `_master_tops`, formerly `_ext_nodes`.
    MasterTops {
        /// The minion's options.
        opts: Map,
    },
    /// `_file_recv`: a piece of a file for the master.
    FileRecv(FileRecv),
    /// `revoke_auth`: forget my key.
    RevokeAuth {
        /// Keep the cached grains, pillar and mine.
        preserve_minion_cache: bool,
    },
    /// `minion_pub`: publish a job for me.
    MinionPub(MinionPub),
    /// `pub_ret`: the results of a job I had published.
    PubRet {
        /// The job.
        jid: Jid,
    },
    /// `minion_publish`: as `minion_pub`, older.
    MinionPublish(MinionPub),
    /// `minion_runner`
    MinionRunner(MinionRunner),
    /// `_register_resources` (3008).
    RegisterResources(Map),
    /// Any other name.
    Unknown(String),
}

/// The result of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Return {
    /// The job it belongs to.
    pub jid: ReturnJid,
    /// All of it, with `cmd` and `ts`, without token and nonce: the event carries it whole.
    pub load: Map,
}

/// The job a result belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnJid {
    /// `req`: the master is to choose one (salt-call, start-up states).
    Allocate,
    /// This one.
    Job(Jid),
}

impl Return {
    /// The function that ran; the first one of a compound call.
    #[must_use]
    pub fn fun(&self) -> &str {
        match self.load.get("fun") {
            Some(Value::List(funs)) => funs.first().and_then(Value::as_str).unwrap_or_default(),
            Some(fun) => fun.as_str().unwrap_or_default(),
            None => "",
        }
    }

    /// What it returned.
    #[must_use]
    pub fn value(&self) -> &Value {
        self.load.get("return").unwrap_or(&Value::Nil)
    }
}

/// A request for the minion's pillar.
#[derive(Clone, Debug, PartialEq)]
pub struct Pillar {
    /// The minion's grains.
    pub grains: Map,
    /// Its environment.
    pub saltenv: Option<String>,
    /// Its pillar environment.
    pub pillarenv: Option<String>,
    /// Pillar from the minion's command line.
    pub pillar_override: Map,
    /// What else the minion's configuration wants to be known.
    pub extra_minion_data: Map,
    /// Version of the request; `2`.
    pub ver: String,
    /// Extra pillar modules the minion asks for; never honoured from the network.
    pub ext: Option<Value>,
    /// Compile anew.
    pub clean_cache: bool,
}

/// Events a minion wants on the master's bus.
#[derive(Clone, Debug, PartialEq)]
pub struct MinionEvent {
    /// One, or several.
    pub events: Event,
    /// Fire each also as `<pretag>/<tag>`.
    pub pretag: Option<String>,
    /// Grains sent along with a start event.
    pub grains: Option<Map>,
}

/// The two forms of [`MinionEvent`].
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The event's data is the whole load, without token and nonce.
    Single {
        /// The tag.
        tag: String,
        /// The whole load.
        load: Map,
    },
    /// Tags with the data of each.
    Many(Vec<(String, Value)>),
}

/// Mine data to store.
#[derive(Clone, Debug, PartialEq)]
pub struct Mine {
    /// Function to value.
    pub data: Map,
    /// Replace instead of update.
    pub clear: bool,
}

/// A question about others' mine data.
#[derive(Clone, Debug, PartialEq)]
pub struct MineGet {
    /// Whose.
    pub tgt: Value,
    /// How to read `tgt`.
    pub tgt_type: String,
    /// Which functions.
    pub fun: MineFun,
}

/// The functions of [`MineGet`]; the form of the answer depends on how they were named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MineFun {
    /// One: the answer is minion to value.
    One(String),
    /// A list: the answer is function to minion to value.
    Many(Vec<String>),
}

/// A file of the file server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// Path below the environment's roots, not checked.
    pub path: String,
    /// Environment.
    pub saltenv: String,
}

/// A piece of a file of the file server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeFile {
    /// The file.
    pub file: FilePath,
    /// Offset in bytes.
    pub loc: u64,
    /// Compress with this gzip level.
    pub gzip: Option<i64>,
    /// Tell of what file it is a piece (`version`, `size`). Saltern's; a master of Salt does not
    /// know it and answers without.
    pub whole: bool,
}

/// A listing of the file server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileList {
    /// Environment.
    pub saltenv: String,
    /// Only what starts with this.
    pub prefix: String,
}

/// A piece of a file that a minion pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecv {
    /// Parts of the path, not checked.
    pub path: Vec<String>,
    /// Offset in bytes.
    pub loc: u64,
    /// The piece.
    pub data: Vec<u8>,
    /// Size of the whole file in bytes.
    pub size: Option<u64>,
}

/// A job that a minion wants published.
#[derive(Clone, Debug, PartialEq)]
pub struct MinionPub {
    /// Function.
    pub fun: String,
    /// Arguments.
    pub arg: Vec<Value>,
    /// Target.
    pub tgt: Value,
    /// How to read the target.
    pub tgt_type: String,
    /// Returner.
    pub ret: String,
    /// Seconds to wait.
    pub tmo: Option<i64>,
    /// Form of the answer.
    pub form: String,
    /// Arguments not to be read as YAML.
    pub no_parse: Vec<Value>,
}

/// A runner that a minion wants run.
#[derive(Clone, Debug, PartialEq)]
pub struct MinionRunner {
    /// Function.
    pub fun: String,
    /// Arguments.
    pub arg: Vec<Value>,
    /// Seconds to wait.
    pub tmo: Option<i64>,
    /// Arguments not to be read as YAML.
    pub no_parse: Vec<Value>,
}

impl MinionCommand {
    /// Reads a command from the load of a request.
    pub(crate) fn parse(name: &str, mut load: Map) -> Result<Self, FieldError> {
        let mut f = Fields { command: name, load: &mut load };
        Ok(match name {
            "_return" => return Return::parse(load).map(MinionCommand::Return),
            "_minion_event" => return MinionEvent::parse(load).map(MinionCommand::MinionEvent),
            "_syndic_return" => MinionCommand::SyndicReturn(load),
            "_register_resources" => MinionCommand::RegisterResources(load),
            "_pillar" => MinionCommand::Pillar(Pillar::parse(&mut f)?),
            "_mine" => {
                MinionCommand::Mine(Mine { data: f.need_map("data")?, clear: f.truth("clear") })
            }
            "_mine_get" => MinionCommand::MineGet(MineGet::parse(&mut f)?),
            "_mine_delete" => MinionCommand::MineDelete { fun: f.need_text("fun")? },
            "_mine_flush" => MinionCommand::MineFlush,
            "_file_find" => MinionCommand::FileFind(FilePath::parse(&mut f)?),
            "_file_hash" => MinionCommand::FileHash(FilePath::parse(&mut f)?),
            "_file_hash_and_stat" => MinionCommand::FileHashAndStat(FilePath::parse(&mut f)?),
            "_serve_file" => MinionCommand::ServeFile(ServeFile::parse(&mut f)?),
            "_file_list" => MinionCommand::FileList(FileList::parse(&mut f)?),
            "_file_list_emptydirs" => MinionCommand::FileListEmptydirs(FileList::parse(&mut f)?),
            "_dir_list" => MinionCommand::DirList(FileList::parse(&mut f)?),
            "_symlink_list" => MinionCommand::SymlinkList(FileList::parse(&mut f)?),
            "_file_envs" => MinionCommand::FileEnvs,
            NOTICE => MinionCommand::Notice,
            "_master_opts" => MinionCommand::MasterOpts { env_only: f.truth("env_only") },
            "_master_tops" | "_ext_nodes" => {
                MinionCommand::MasterTops { opts: f.map("opts")?.unwrap_or_default() }
            }
            "_file_recv" => MinionCommand::FileRecv(FileRecv::parse(&mut f)?),
            "revoke_auth" => MinionCommand::RevokeAuth {
                preserve_minion_cache: f.truth("preserve_minion_cache"),
            },
            "minion_pub" => MinionCommand::MinionPub(MinionPub::parse(&mut f)?),
            "minion_publish" => MinionCommand::MinionPublish(MinionPub::parse(&mut f)?),
            "pub_ret" => MinionCommand::PubRet { jid: jid(&mut f)? },
            "minion_runner" => MinionCommand::MinionRunner(MinionRunner::parse(&mut f)?),
            other => MinionCommand::Unknown(other.to_owned()),
        })
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            MinionCommand::Return(_) => "_return",
            MinionCommand::SyndicReturn(_) => "_syndic_return",
            MinionCommand::Pillar(_) => "_pillar",
            MinionCommand::MinionEvent(_) => "_minion_event",
            MinionCommand::Mine(_) => "_mine",
            MinionCommand::MineGet(_) => "_mine_get",
            MinionCommand::MineDelete { .. } => "_mine_delete",
            MinionCommand::MineFlush => "_mine_flush",
            MinionCommand::FileFind(_) => "_file_find",
            MinionCommand::FileHash(_) => "_file_hash",
            MinionCommand::FileHashAndStat(_) => "_file_hash_and_stat",
            MinionCommand::ServeFile(_) => "_serve_file",
            MinionCommand::FileList(_) => "_file_list",
            MinionCommand::FileListEmptydirs(_) => "_file_list_emptydirs",
            MinionCommand::DirList(_) => "_dir_list",
            MinionCommand::SymlinkList(_) => "_symlink_list",
            MinionCommand::FileEnvs => "_file_envs",
            MinionCommand::Notice => NOTICE,
            MinionCommand::MasterOpts { .. } => "_master_opts",
            MinionCommand::MasterTops { .. } => "_master_tops",
            MinionCommand::FileRecv(_) => "_file_recv",
            MinionCommand::RevokeAuth { .. } => "revoke_auth",
            MinionCommand::MinionPub(_) => "minion_pub",
            MinionCommand::PubRet { .. } => "pub_ret",
            MinionCommand::MinionPublish(_) => "minion_publish",
            MinionCommand::MinionRunner(_) => "minion_runner",
            MinionCommand::RegisterResources(_) => "_register_resources",
            MinionCommand::Unknown(name) => name,
        }
    }

    /// Whether doing it twice is not the same as doing it once. `_pillar` counts as harmless:
    /// Salt's clients repeat it as the same bytes.
    #[must_use]
    pub fn changes_state(&self) -> bool {
        matches!(
            self,
            MinionCommand::Return(_)
                | MinionCommand::SyndicReturn(_)
                | MinionCommand::MinionEvent(_)
                | MinionCommand::Mine(_)
                | MinionCommand::MineDelete { .. }
                | MinionCommand::MineFlush
                | MinionCommand::FileRecv(_)
                | MinionCommand::RevokeAuth { .. }
                | MinionCommand::MinionPub(_)
                | MinionCommand::MinionPublish(_)
                | MinionCommand::MinionRunner(_)
                | MinionCommand::RegisterResources(_)
        )
    }
}
