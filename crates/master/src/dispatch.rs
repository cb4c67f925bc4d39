//! From bytes to a handler: takes requests from the socket, opens and proves them, and sends the
//! answers. Every way out of here other than an answer is counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use saltern_transport::zeromq::{Request, Router};
use saltern_value::Map;
use saltern_wire::command::{ClearCommand, MinionCommand};
use saltern_wire::envelope::{self, Envelope, SealedRequest};
use saltern_wire::session::Replay;
use saltern_wire::session::server::{AcceptedMinion, MinionRequest, open};
use saltern_wire::{Reason, Refused, Verified, limits, reply};
use tokio::sync::Semaphore;

use crate::context::{Shared, lock};
use crate::counters::Refusal;
use crate::handlers::{self, local, returns};

/// Requests being served at a time; more wait in their sockets.
pub(crate) const MAX_REQUESTS: usize = 1024;
/// Longest time a request is worked on. Clients wait 60 seconds.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bodies up to this size are unpacked on the event loop: that takes some microseconds.
const SMALL: usize = 32 << 10;
/// Sealed requests up to this size are opened on the event loop: that takes at most a fraction of
/// a millisecond, and less than waking other threads does.
const AT_ONCE: usize = 128 << 10;

/// Serves requests until the router is closed.
pub(crate) async fn serve(shared: Arc<Shared>, router: Arc<Router>) {
    let places = Arc::new(Semaphore::new(MAX_REQUESTS));
    loop {
        let waits = places.available_permits() == 0;
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Some(request) = router.recv().await else { return };
        let shared = Arc::clone(&shared);
        shared.counters.begin(waits);
        tokio::spawn(async move {
            one(&shared, request).await;
            shared.counters.end();
            drop(place);
        });
    }
}

async fn one(shared: &Arc<Shared>, request: Request) {
    let Request { peer, body, reply } = request;
    match tokio::time::timeout(DEADLINE, answer(shared, body, peer)).await {
        Ok(Answer::Now(bytes)) => reply.send(bytes),
        Ok(Answer::SignIn(load)) => shared.herd.enter(shared, load, peer, reply),
        Ok(Answer::Return(request)) => returns::take(shared, *request, peer, reply).await,
        // Without an answer the client tries again, which is what it would do later anyway.
        Err(_) => shared.counters.refuse(Refusal::TooLate, Some(peer), || "dropped"),
    }
}

/// What comes of a request here.
enum Answer {
    Now(Vec<u8>),
    /// A sign-in gives its place to others and waits in a queue of its own.
    SignIn(Map),
    /// A return gives its place to others when it waits for the disk.
    Return(Box<MinionRequest>),
}

async fn answer(shared: &Arc<Shared>, body: Vec<u8>, peer: SocketAddr) -> Answer {
    let small = body.len() <= SMALL;
    let local = peer.ip().to_canonical().is_loopback();
    let limits = if local { limits::LOCAL } else { limits::STRANGER };
    let at_once = body.len() <= AT_ONCE;
    let parsed = if at_once {
        Ok(envelope::parse(&body, limits))
    } else {
        shared.compute(move |_| envelope::parse(&body, limits)).await
    };
    let answer = match parsed {
        Ok(Ok(Envelope::Clear(request))) => match ClearCommand::parse(request) {
            Ok(ClearCommand::Auth(load)) if small => return Answer::SignIn(load),
            command => clear(shared, command, peer).await,
        },
        Ok(Ok(Envelope::Sealed(request))) => return sealed(shared, request, peer, at_once).await,
        Ok(Err(refused)) => refuse(shared, refused, peer, "request"),
        Err(why) => failed(shared, peer, &why),
    };
    Answer::Now(answer)
}

async fn clear(
    shared: &Arc<Shared>,
    command: Result<ClearCommand, Refused>,
    peer: SocketAddr,
) -> Vec<u8> {
    match command {
        Ok(ClearCommand::Ping(load)) => reply::map(&load),
        Ok(ClearCommand::Auth(_)) => {
            // Those that wait must not be able to fill the memory.
            shared.counters.refuse(Refusal::BadSignIn, Some(peer), || "it is too long");
            reply::text("bad load")
        }
        Ok(ClearCommand::Publish(job)) => local::publish(shared, job, peer).await,
        Ok(ClearCommand::Runner(call)) => local::runner(shared, call, peer),
        Ok(ClearCommand::Wheel(call)) => local::wheel(shared, call, peer).await,
        Ok(ClearCommand::MkToken(_)) => local::mk_token(shared, peer),
        Ok(ClearCommand::GetToken(load)) => local::get_token(&load),
        Ok(ClearCommand::Unknown(name)) => {
            shared.counters.refuse(Refusal::UnknownCommand, Some(peer), || {
                format!("clear command {}", name.escape_debug().take(40).collect::<String>())
            });
            reply::unknown_command()
        }
        Err(refused) => refuse(shared, refused, peer, "clear command"),
    }
}

async fn sealed(
    shared: &Arc<Shared>,
    request: SealedRequest,
    peer: SocketAddr,
    at_once: bool,
) -> Answer {
    let claimed = request.id.clone();
    // What is small is opened in less time than another thread takes to wake up.
    let opened = if at_once {
        Ok(prove(shared, &request))
    } else {
        shared.compute(move |shared| prove(shared, &request)).await
    };
    Answer::Now(match opened {
        Ok(Ok((minion, request))) => {
            shared.presence.note(minion.id(), peer.ip());
            if matches!(request.command, MinionCommand::Return(_)) {
                return Answer::Return(Box::new(request.into_inner()));
            }
            handlers::serve(shared, &minion, request, peer).await
        }
        Ok(Err(refused)) => refuse(shared, refused, peer, claimed.as_str()),
        Err(why) => failed(shared, peer, &why),
    })
}

/// Opens a request and proves who sent it. Nothing is written for ids without an accepted key.
fn prove(
    shared: &Shared,
    request: &SealedRequest,
) -> Result<(Arc<AcceptedMinion>, Verified<MinionRequest>), Refused> {
    let unknown = |error| {
        log::error!("Key or session of {} not readable: {error}", request.id);
        request.refuse_unknown()
    };
    let now = SystemTime::now();
    let key = shared.pki.accepted(&request.id).map_err(unknown)?;
    let key = key.ok_or_else(|| request.refuse_unknown())?;
    let session = shared.sessions.for_request(&key, now).map_err(unknown)?;
    let session = session.ok_or_else(|| request.refuse_unknown())?;
    let minion = shared.minion(&key);
    let ttl = u64::try_from(shared.opts.request_server_ttl).unwrap_or(0);
    let opened = open(request, &minion, &session, ttl, now)?;
    let mut replay = lock(&shared.replay);
    let (guard, file) = &mut *replay;
    match guard.check(&opened, Instant::now()) {
        Replay::First => {}
        Replay::Noted(mark) => {
            // A full disk is no reason to serve nobody: the memory of this run still counts.
            if let Err(error) = file.note(mark, now) {
                log::debug!("A request could be replayed after a restart: {error}");
            }
        }
        Replay::Repeated => return Err(opened.refuse_repeated()),
    }
    drop(replay);
    Ok((minion, opened))
}

fn refuse(shared: &Shared, refused: Refused, peer: SocketAddr, what: &str) -> Vec<u8> {
    shared
        .counters
        .refuse(kind(&refused.reason), Some(peer), || format!("{what}: {}", refused.reason));
    refused.reply
}

fn failed(shared: &Shared, peer: SocketAddr, why: &str) -> Vec<u8> {
    shared.counters.refuse(Refusal::Failed, Some(peer), || why.to_owned());
    reply::text("")
}

fn kind(reason: &Reason) -> Refusal {
    match reason {
        Reason::Undecodable(_) | Reason::NotAnEnvelope | Reason::LoadNotAMap => {
            Refusal::BadEnvelope
        }
        Reason::Version(_) => Refusal::OldVersion,
        Reason::UnknownEnc => Refusal::UnknownEncryption,
        Reason::IdNotText | Reason::InvalidId(_) => Refusal::BadId,
        Reason::NotAuthentic => Refusal::NotDecryptable,
        Reason::Expired(_)
        | Reason::IdMismatch
        | Reason::BadToken
        | Reason::BadNonce
        | Reason::Algorithm => Refusal::NotVerified,
        Reason::Repeated => Refusal::Replayed,
        Reason::NoCommand => Refusal::UnknownCommand,
        Reason::Field(_) => Refusal::BadArguments,
    }
}
