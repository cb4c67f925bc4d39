//! Our request client against our request server, and rogues against the server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{LONG, deaf, greeting, is_closed, local, raw, ready};
use saltern_transport::ConnectOptions;
use saltern_transport::zeromq::{
    CloseReason, Counters, RequestError, Requester, RequesterOptions, Router, RouterOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that sends every body back.
fn echo(options: RouterOptions) -> (Arc<Router>, String) {
    let router = Arc::new(Router::bind(local(), options).unwrap());
    let serving = router.clone();
    tokio::spawn(async move {
        while let Some(request) = serving.recv().await {
            request.reply.send(request.body);
        }
    });
    let address = router.local_addr().to_string();
    (router, address)
}

fn client(address: &str) -> Requester {
    Requester::new(address, RequesterOptions::default())
}

/// Waits until the counters say what they should.
async fn until(router: &Router, what: impl Fn(&Counters) -> bool) -> Counters {
    common::until(|| what(&router.counters())).await;
    router.counters()
}

#[tokio::test]
async fn replies_come_back_and_connections_are_used_again() {
    let (router, address) = echo(RouterOptions::default());
    let client = client(&address);
    for length in [0, 1, 255, 256, 70_000, 5 << 20] {
        let body = vec![length as u8; length];
        assert_eq!(client.request(body.clone(), LONG).await.unwrap(), body);
    }
    client.check(LONG).await.unwrap();
    assert_eq!(router.counters().accepted, 2);
    client.close_idle();
    until(&router, |c| c.open == 0).await;
    assert_eq!(client.request(b"again".to_vec(), LONG).await.unwrap(), b"again");
    assert_eq!(router.counters().messages, 7);
}

#[tokio::test]
async fn many_at_a_time_share_a_bounded_pool() {
    let (router, address) = echo(RouterOptions::default());
    let options = RequesterOptions { max_connections: 3, ..RequesterOptions::default() };
    let client = Requester::new(address, options);
    let tasks: Vec<_> = (0..200u32)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move {
                let body = i.to_be_bytes().to_vec();
                assert_eq!(client.request(body.clone(), LONG).await.unwrap(), body);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(router.counters().messages, 200);
    assert!(router.counters().accepted <= 3);
}

#[tokio::test]
async fn a_pooled_connection_the_server_closed_is_not_used() {
    let first = Router::bind(local(), RouterOptions::default()).unwrap();
    let address = first.local_addr();
    let client = client(&address.to_string());
    let (answer, ()) = tokio::join!(client.request(b"one".to_vec(), LONG), async {
        first.recv().await.unwrap().reply.send(b"old".to_vec());
    });
    assert_eq!(answer.unwrap(), b"old");
    first.close(LONG).await;
    let second = Router::bind(address, RouterOptions::default()).unwrap();
    let (answer, ()) = tokio::join!(client.request(b"two".to_vec(), LONG), async {
        second.recv().await.unwrap().reply.send(b"new".to_vec());
    });
    assert_eq!(answer.unwrap(), b"new");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let (router, address) = echo(RouterOptions::default());
    let options =
        RequesterOptions { idle_timeout: Duration::from_millis(5), ..RequesterOptions::default() };
    let client = Requester::new(address, options);
    client.request(b"x".to_vec(), LONG).await.unwrap();
    until(&router, |c| c.open == 0 && c.closed_by(CloseReason::Peer) == 1).await;
    client.request(b"x".to_vec(), LONG).await.unwrap();
}

#[tokio::test]
async fn peers_that_cannot_be_asked() {
    let (_socket, free) = deaf();
    let refused = client(&free.to_string()).request(vec![], LONG).await.unwrap_err();
    assert_eq!(refused, RequestError::Refused);

    let unresolved = client("no.such.host.invalid:4506").request(vec![], LONG).await.unwrap_err();
    assert!(matches!(unresolved, RequestError::Resolve(_)), "{unresolved:?}");

    // Takes connections and never says a word.
    let mute = TcpListener::bind(local()).await.unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let short = Duration::from_millis(100);
    let late = client(&address).request(vec![], short).await.unwrap_err();
    assert_eq!(late, RequestError::Timeout);

    let http = TcpListener::bind(local()).await.unwrap();
    let address = http.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = http.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let protocol = client(&address).request(vec![], LONG).await.unwrap_err();
    assert!(matches!(protocol, RequestError::Protocol(_)), "{protocol:?}");
}

#[tokio::test]
async fn requests_nobody_answers() {
    let router = Router::bind(local(), RouterOptions::default()).unwrap();
    let asking = client(&router.local_addr().to_string());
    // With a connection at hand the request has left when its time is over.
    asking.check(LONG).await.unwrap();
    let late = asking.request(vec![1], Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(late, RequestError::Timeout);
    // The connection is not used again, and the answer that comes too late is dropped.
    router.recv().await.unwrap().reply.send(vec![]);
    until(&router, |c| c.open == 0 && c.dropped <= 1).await;

    let (asked, ()) = tokio::join!(asking.request(vec![2], LONG), async {
        router.recv().await.unwrap();
        router.close(Duration::ZERO).await;
    });
    assert_eq!(asked.unwrap_err(), RequestError::Closed);
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let router = Router::bind(local(), RouterOptions::default()).unwrap();
    let client = client(&router.local_addr().to_string());
    let task = tokio::spawn({
        let client = client.clone();
        async move { client.request(vec![1], LONG).await }
    });
    let request = router.recv().await.unwrap();
    task.abort();
    until(&router, |c| c.open == 0).await;
    request.reply.send(vec![]);
    assert_eq!(router.counters().dropped, 1);
}

#[tokio::test]
async fn garbage_over_long_and_wrong_peers_are_closed_and_counted() {
    let (router, address) = echo(RouterOptions::default());
    let mut http = TcpStream::connect(&address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(is_closed(&mut http).await);

    for length in [1u64 << 62, 8 << 30, u64::MAX, 1 << 30] {
        let mut long = raw(&address, "DEALER").await;
        long.write_all(&[&[2][..], &length.to_be_bytes()].concat()).await.unwrap();
        assert!(is_closed(&mut long).await);
    }
    let mut sub = TcpStream::connect(&address).await.unwrap();
    sub.write_all(&[greeting(), ready("SUB")].concat()).await.unwrap();
    assert!(is_closed(&mut sub).await);
    let mut parts = raw(&address, "DEALER").await;
    parts.write_all(&[1, 0].repeat(100)).await.unwrap();
    assert!(is_closed(&mut parts).await);

    let counters = until(&router, |c| c.open == 0).await;
    assert_eq!(counters.closed_by(CloseReason::Garbage), 1);
    assert_eq!(counters.closed_by(CloseReason::TooLong), 5);
    assert_eq!(counters.closed_by(CloseReason::WrongType), 1);
    assert_eq!(client(&address).request(b"alive".to_vec(), LONG).await.unwrap(), b"alive");
}

#[tokio::test]
async fn a_slow_handshake_and_a_stalled_message_are_given_up() {
    let handshake_timeout = Duration::from_millis(100);
    let (hasty, address) = echo(RouterOptions { handshake_timeout, ..RouterOptions::default() });
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut half = TcpStream::connect(&address).await.unwrap();
    half.write_all(&greeting()[..20]).await.unwrap();
    for stream in [&mut silent, &mut half] {
        assert!(is_closed(stream).await);
    }
    let counters = until(&hasty, |c| c.open == 0).await;
    assert_eq!(counters.closed_by(CloseReason::HandshakeTimeout), 2);

    let stall_timeout = Duration::from_millis(50);
    let (router, address) = echo(RouterOptions { stall_timeout, ..RouterOptions::default() });
    let mut idle = raw(&address, "REQ").await;
    let mut stalled = raw(&address, "REQ").await;
    stalled.write_all(&[1, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 7]).await.unwrap();
    assert!(is_closed(&mut stalled).await);
    let counters = until(&router, |c| c.open == 1).await;
    assert_eq!(counters.closed_by(CloseReason::Stalled), 1);
    // Silence between requests is no fault.
    idle.write_all(&[1, 0, 0, 1, b'x']).await.unwrap();
    let mut answer = [0; 5];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [1, 0, 0, 1, b'x']);
}

#[tokio::test]
async fn other_shapes_are_dropped_and_the_next_request_is_served() {
    let (router, address) = echo(RouterOptions::default());
    let mut dealer = raw(&address, "DEALER").await;
    // [body], ["x", body], ["", a, b], ["", body]
    let bytes = b"\x00\x01a\x01\x01x\x00\x01b\x01\x00\x01\x01a\x00\x01b\x01\x00\x00\x02ok";
    dealer.write_all(bytes).await.unwrap();
    let mut answer = [0; 6];
    dealer.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x01\x00\x00\x02ok");
    assert_eq!(router.counters().bad_shape, 3);
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_none_is_lost() {
    let options = RouterOptions { max_in_flight: 4, ..RouterOptions::default() };
    let router = Router::bind(local(), options).unwrap();
    let mut dealer = raw(&router.local_addr().to_string(), "DEALER").await;
    for i in 0..100u8 {
        dealer.write_all(&[1, 0, 0, 1, i]).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(router.recv().await.unwrap());
    }
    let more = tokio::time::timeout(Duration::from_millis(20), router.recv()).await;
    assert!(more.is_err(), "a fifth request");
    assert_eq!(router.counters().messages, 4);
    for request in held {
        request.reply.send(request.body);
    }
    for i in 4..100u8 {
        let request = router.recv().await.unwrap();
        assert_eq!(request.body, [i]);
        request.reply.send(request.body);
    }
    let mut answers = vec![0; 500];
    dealer.read_exact(&mut answers).await.unwrap();
    assert!(answers.chunks(5).enumerate().all(|(i, a)| usize::from(a[4]) == i));
}

#[tokio::test]
async fn a_peer_that_reads_no_answers_is_not_served_for_ever() {
    let (router, address) = echo(RouterOptions {
        stall_timeout: Duration::from_millis(100),
        max_message: 1 << 20,
        ..RouterOptions::default()
    });
    let mut deaf = raw(&address, "DEALER").await;
    let body = vec![0; 500_000];
    let head = [&[1, 0, 2][..], &(body.len() as u64).to_be_bytes()].concat();
    let request = [head, body].concat();
    let writing = async { while deaf.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(LONG, writing).await.unwrap();
    let counters = until(&router, |c| c.open == 0).await;
    assert_eq!(counters.closed_by(CloseReason::Stalled), 1);
}

#[tokio::test]
async fn the_budget_bounds_all_connections_together() {
    let (router, address) = echo(RouterOptions {
        max_message: 4 << 20,
        budget: 1 << 20,
        stall_timeout: Duration::from_secs(1),
        ..RouterOptions::default()
    });
    // Each has nearly 4 MiB under way: two fit into one address's share (8 MiB), ...
    let mut hogs = Vec::new();
    for _ in 0..6 {
        let mut hog = raw(&address, "DEALER").await;
        let head = [&[2][..], &(4u64 << 20).to_be_bytes()].concat();
        hog.write_all(&head).await.unwrap();
        hogs.push(tokio::spawn(async move {
            let _ = hog.write_all(&vec![0; (4 << 20) - 1]).await;
            is_closed(&mut hog).await
        }));
    }
    // ... and small requests are served all the while.
    let small = client(&address);
    assert_eq!(small.request(b"small".to_vec(), LONG).await.unwrap(), b"small");
    for hog in hogs {
        assert!(hog.await.unwrap());
    }
    until(&router, |c| c.closed_by(CloseReason::Stalled) > 0 && c.open <= 1).await;
    let big = vec![1; 3 << 20];
    assert_eq!(small.request(big.clone(), LONG).await.unwrap(), big);
}

#[tokio::test]
async fn connections_are_bounded() {
    let (router, address) =
        echo(RouterOptions { max_connections: 3, max_per_address: 2, ..RouterOptions::default() });
    let _a = raw(&address, "REQ").await;
    let b = raw(&address, "REQ").await;
    let mut refused = TcpStream::connect(&address).await.unwrap();
    assert!(is_closed(&mut refused).await);
    assert_eq!(router.counters().closed_by(CloseReason::NoRoom), 1);
    drop(b);
    until(&router, |c| c.open == 1).await;
    raw(&address, "REQ").await;
}

#[tokio::test]
async fn the_source_of_a_connection_can_be_chosen() {
    let router = Router::bind(local(), RouterOptions::default()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port();
    let connect = ConnectOptions {
        source: Some([127, 0, 0, 2].into()),
        source_port: port,
        ..ConnectOptions::default()
    };
    let options = RequesterOptions { connect, ..RequesterOptions::default() };
    let client = Requester::new(router.local_addr().to_string(), options);
    let serving = async {
        let request = router.recv().await.unwrap();
        assert_eq!(request.peer.to_string(), format!("127.0.0.2:{port}"));
        request.reply.send(vec![1]);
    };
    let (answer, ()) = tokio::join!(client.request(vec![], LONG), serving);
    assert_eq!(answer.unwrap(), [1]);
}

#[tokio::test]
async fn an_ipv6_wildcard_serves_both_families() {
    // A machine may have no IPv6 at all.
    let Ok(router) = Router::bind("[::]:0".parse().unwrap(), RouterOptions::default()) else {
        return;
    };
    let port = router.local_addr().port();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let client = client(&address);
        let (answer, ()) = tokio::join!(client.request(vec![], LONG), async {
            router.recv().await.unwrap().reply.send(vec![6]);
        });
        assert_eq!(answer.unwrap(), [6], "{address}");
    }
}

#[tokio::test]
async fn closing_waits_for_answers_and_then_ends() {
    let router = Arc::new(Router::bind(local(), RouterOptions::default()).unwrap());
    let client = client(&router.local_addr().to_string());
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.request(b"last".to_vec(), LONG).await }
    });
    let request = router.recv().await.unwrap();
    let closing = tokio::spawn({
        let router = router.clone();
        async move { router.close(LONG).await }
    });
    assert!(router.recv().await.is_none());
    request.reply.send(b"answer".to_vec());
    assert_eq!(asking.await.unwrap().unwrap(), b"answer");
    closing.await.unwrap();
    assert_eq!(router.counters().open, 0);
    let refused = client.request(vec![], LONG).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused | RequestError::Closed), "{refused:?}");
}

#[tokio::test]
async fn ten_thousand_failed_connects_leave_nothing() {
    let (_socket, free) = deaf();
    let client = client(&free.to_string());
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    client.request(vec![], LONG).await.unwrap_err();
    let before = descriptors();
    for _ in 0..10_000 {
        assert_eq!(client.request(vec![], LONG).await.unwrap_err(), RequestError::Refused);
    }
    // Other tests of this process open some of their own at the same time.
    assert!(descriptors() < before + 500, "{before} before, {} after", descriptors());
}
