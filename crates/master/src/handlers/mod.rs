//! What the master does for signed-in minions and for the tools of its host: one file per group
//! of commands. Handlers get what is verified already and give back a value; sealing and counting
//! are done here.

pub(crate) mod auth;
mod event;
pub(crate) mod files;
pub(crate) mod local;
pub(crate) mod mine;
mod options;
pub(crate) mod peer;
mod pillar;
pub(crate) mod returns;
mod revoke;

use std::net::SocketAddr;
use std::sync::Arc;

use saltern_base::MinionId;
use saltern_value::{Map, Value};
use saltern_wire::Verified;
use saltern_wire::command::MinionCommand;
use saltern_wire::session::server::{AcceptedMinion, MinionRequest};

use crate::context::Shared;
use crate::counters::Refusal;

/// One verified request of a minion on its way through a handler.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Who asks, proved.
    pub(crate) id: MinionId,
    /// Caller where.
    pub(crate) peer: SocketAddr,
}

impl Caller {
    /// Counts that this request asks for what it may not have.
    fn refuse(&self, shared: &Shared, why: Refusal, what: &str) {
        shared.counters.refuse(why, Some(self.peer), || format!("{} of minion {}", what, self.id));
    }
}

/// Why a handler has no answer; the sentence is logged, the minion gets Salt's empty text.
pub(crate) type Answer = Result<Value, String>;

/// Serves one request of a minion; the result is the reply.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    minion: &AcceptedMinion,
    request: Verified<MinionRequest>,
    peer: SocketAddr,
) -> Vec<u8> {
    let MinionRequest { id, command, replier } = request.into_inner();
    let from = Caller { id, peer };
    let name = command.name().to_owned();
    let answer = match command {
        MinionCommand::Pillar(wanted) => {
            match pillar::serve(shared, &from, minion, &replier, wanted).await {
                Ok(reply) => return reply,
                Err(why) => Err(why),
            }
        }
        MinionCommand::ServeFile(piece) => match files::serve(shared, &replier, piece).await {
            Ok(reply) => return reply,
            Err(why) => Err(why),
        },
        MinionCommand::Unknown(name) => {
            from.refuse(shared, Refusal::UnknownCommand, &format!("command {name:.40}"));
            return replier.unknown_command();
        }
        command => serve_value(shared, &from, command).await,
    };
    let sealed = answer.map(|value| replier.value(&value));
    sealed.unwrap_or_else(|why| {
        from.refuse(shared, Refusal::Failed, &format!("{name} ({why})"));
        replier.failed()
    })
}

async fn serve_value(shared: &Arc<Shared>, from: &Caller, command: MinionCommand) -> Answer {
    match command {
        MinionCommand::MinionEvent(event) => event::fire(shared, from, event),
        MinionCommand::Mine(data) => mine::store(shared, from, data).await,
        MinionCommand::MineGet(wanted) => mine::answer(shared, from, wanted).await,
        MinionCommand::MineDelete { fun } => mine::delete(shared, from, fun).await,
        MinionCommand::MineFlush => mine::flush(shared, from).await,
        MinionCommand::FileFind(file) => files::find(shared, file).await,
        MinionCommand::FileHash(file) => files::hash(shared, file).await,
        MinionCommand::FileHashAndStat(file) => files::hash_and_stat(shared, file).await,
        MinionCommand::FileList(wanted) => files::list(shared, wanted).await,
        MinionCommand::FileListEmptydirs(wanted) => files::empty_dirs(shared, wanted).await,
        MinionCommand::DirList(wanted) => files::dirs(shared, wanted).await,
        MinionCommand::SymlinkList(wanted) => files::symlinks(shared, wanted).await,
        MinionCommand::FileEnvs => files::envs(shared).await,
        MinionCommand::Notice => Ok(Value::Map(auth::notice_to(shared, false).to_map(None))),
        MinionCommand::FileRecv(piece) => files::receive(shared, from, piece).await,
        MinionCommand::MasterOpts { env_only } => options::serve(shared, env_only).await,
        MinionCommand::RevokeAuth { preserve_minion_cache } => {
            revoke::revoke(shared, from, preserve_minion_cache).await
        }
        MinionCommand::MinionPub(job) => peer::publish(shared, from, job).await,
        MinionCommand::PubRet { jid } => peer::returns(shared, from, jid).await,
        // No external top module exists yet, so every minion gets Salt's answer for none.
        MinionCommand::MasterTops { .. } => Ok(Value::Map(Map::new())),
        MinionCommand::MinionPublish(_) => Ok(refused(shared, from, "minion_publish", "")),
        MinionCommand::MinionRunner(_) => {
            Ok(refused(shared, from, "minion_runner", Value::Map(Map::new())))
        }
        MinionCommand::SyndicReturn(_) => Ok(refused(shared, from, "_syndic_return", ())),
        // Salt 3006 does not know resources either and answers like this.
        MinionCommand::RegisterResources(_) => Ok(Value::Map(Map::new())),
        MinionCommand::Return(_)
        | MinionCommand::Pillar(_)
        | MinionCommand::ServeFile(_)
        | MinionCommand::Unknown(_) => Err("it is served elsewhere".to_owned()),
    }
}

fn refused(shared: &Shared, from: &Caller, what: &str, answer: impl Into<Value>) -> Value {
    from.refuse(shared, Refusal::NotPermitted, what);
    answer.into()
}

/// Runs what reads or writes the disk away from the event loop.
async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, String> {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || work(&shared))
        .await
        .map_err(|_| "it ended without a result".to_owned())
}
