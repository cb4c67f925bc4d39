//! The file server's commands: thin calls into it, off the event loop.

use std::sync::Arc;

use saltern_crypto::SealKey;
use saltern_fileserver::{FileServer, Piece, Push, Whole};
use saltern_value::Value;
use saltern_wire::command::{FileList, FilePath, FileRecv, ServeFile};
use saltern_wire::session::server::Replier;

use super::{Answer, Caller, blocking};
use crate::context::Shared;
use crate::counters::Refusal;

pub(super) async fn find(shared: &Arc<Shared>, file: FilePath) -> Answer {
    blocking(shared, move |s| s.files.find(&file.saltenv, &file.path)).await
}

pub(super) async fn hash(shared: &Arc<Shared>, file: FilePath) -> Answer {
    blocking(shared, move |s| s.files.hash(&file.saltenv, &file.path)).await
}

pub(super) async fn hash_and_stat(shared: &Arc<Shared>, file: FilePath) -> Answer {
    blocking(shared, move |s| s.files.hash_and_stat(&file.saltenv, &file.path)).await
}

/// Pieces of files that are read and sealed at a time: enough for a disk to be busy, and few enough
/// that a hundred minions do not take a thread and a buffer each. The others wait in their order.
pub(crate) const PIECES: usize = 8;

/// A piece of a file, sealed: a large one keeps a core busy for a while, which must not be that of
/// the event loop.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    replier: &Replier,
    wanted: ServeFile,
) -> Result<Vec<u8>, String> {
    let replier = replier.clone();
    let _turn = shared.pieces.acquire().await.map_err(|_| "the master is ending".to_owned())?;
    blocking(shared, move |s| sealed(&s.files, &replier, &wanted)).await
}

/// A large piece is sealed while it is read.
fn sealed(files: &FileServer, replier: &Replier, wanted: &ServeFile) -> Vec<u8> {
    let ServeFile { file: FilePath { path, saltenv, .. }, loc, gzip, whole } = wanted;
    let gzip = gzip.and_then(|level| u32::try_from(level).ok()).filter(|level| *level > 0);
    let mut piece = files.piece(saltenv, path, *loc, *whole);
    if let (Some(large), None) = (piece.as_mut().filter(|p| p.length >= SealKey::LONG), gzip) {
        let more: Vec<_> = large.whole.iter().flat_map(Whole::fields).collect();
        match replier.piece(&mut large.file, large.length, &large.dest, &more) {
            Ok(answer) => return answer,
            // It was cut while it was read: once more, as it is now.
            Err(error) => log::debug!("{path} cannot be read as announced: {error}"),
        }
        piece = files.piece(saltenv, path, *loc, *whole);
    }
    replier.value(&Piece::answer(piece, gzip))
}

pub(super) async fn list(shared: &Arc<Shared>, wanted: FileList) -> Answer {
    blocking(shared, move |s| s.files.list(&wanted.saltenv, &wanted.prefix)).await
}

pub(super) async fn empty_dirs(shared: &Arc<Shared>, wanted: FileList) -> Answer {
    blocking(shared, move |s| s.files.empty_dirs(&wanted.saltenv, &wanted.prefix)).await
}

pub(super) async fn dirs(shared: &Arc<Shared>, wanted: FileList) -> Answer {
    blocking(shared, move |s| s.files.dirs(&wanted.saltenv, &wanted.prefix)).await
}

pub(super) async fn symlinks(shared: &Arc<Shared>, wanted: FileList) -> Answer {
    blocking(shared, move |s| s.files.symlinks(&wanted.saltenv, &wanted.prefix)).await
}

pub(super) async fn envs(shared: &Arc<Shared>) -> Answer {
    blocking(shared, |s| s.files.envs()).await
}

/// `_file_recv`: the receiver decides; a refusal is counted.
pub(super) async fn receive(shared: &Arc<Shared>, from: &Caller, piece: FileRecv) -> Answer {
    let id = from.id.clone();
    let taken = blocking(shared, move |s| {
        let path = Value::from(piece.path);
        s.receiver.receive(
            &id,
            &Push { path: &path, offset: piece.loc, size: piece.size, data: &piece.data },
        )
    })
    .await?;
    if !taken {
        from.refuse(shared, Refusal::NotPermitted, "pushed file");
    }
    Ok(taken.into())
}
