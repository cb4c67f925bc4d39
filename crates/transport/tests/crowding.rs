//! Many peers: topics, slow subscribers, places that run short, answers given at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{LONG, greeting, local, raw, ready, until};
use saltern_transport::zeromq::{
    Audience, CloseReason, Places, PublishReport, Publisher, PublisherOptions, RequestError,
    Requester, RequesterOptions, Router, RouterOptions, Subscriber, SubscriberOptions,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn subscribe(publisher: &Publisher, topics: &[&[u8]]) -> Subscriber {
    let before = publisher.subscribers();
    let address = publisher.local_addr().to_string();
    let subscriber =
        Subscriber::connect(&address, SubscriberOptions::default(), topics).await.unwrap();
    until(|| publisher.subscribers() > before).await;
    subscriber
}

async fn next(subscriber: &mut Subscriber) -> Vec<Vec<u8>> {
    tokio::time::timeout(LONG, subscriber.next()).await.expect("no message").unwrap()
}

#[tokio::test]
async fn each_subscriber_gets_a_publication_in_its_own_form_and_once() {
    let publisher = Publisher::bind(local(), PublisherOptions::default()).unwrap();
    let mut plain = subscribe(&publisher, &[b""]).await;
    let mut one = subscribe(&publisher, &[b"broadcast", b"one"]).await;
    let mut two = subscribe(&publisher, &[b"broadcast", b"two"]).await;
    let mut both = subscribe(&publisher, &[b"", b"broadcast", b"two"]).await;
    // All prefixes of a subscription are known when its last one is.
    until(|| publisher.publish(Some("two"), &b"warm"[..]).delivered == 3).await;
    let taken = |frames: &[Vec<u8>]| frames.last().is_some_and(|last| last == b"warm");
    let everybody = Audience::Everybody { topic: "broadcast" };
    let report = publisher.deliver(everybody, &b"all"[..]);
    assert_eq!(report, PublishReport { delivered: 4, dropped: 0 });
    let (few, none) = (["two".to_owned(), "nobody".to_owned()], ["nobody".to_owned()]);
    assert_eq!(publisher.deliver(Audience::Topics(&few), &b"few"[..]).delivered, 3);
    assert_eq!(publisher.deliver(Audience::Topics(&none), &b"none"[..]).delivered, 2);
    let expected: [(&mut Subscriber, &[&[&[u8]]]); 4] = [
        (&mut plain, &[&[b"all"], &[b"few"], &[b"none"]]),
        (&mut one, &[&[b"broadcast", b"all"]]),
        (&mut two, &[&[b"broadcast", b"all"], &[b"two", b"few"]]),
        (&mut both, &[&[b"all"], &[b"few"], &[b"none"]]),
    ];
    for (subscriber, messages) in expected {
        for message in messages {
            let mut frames = next(subscriber).await;
            while taken(&frames) {
                frames = next(subscriber).await;
            }
            assert_eq!(frames, *message);
        }
    }
    drop((two, both));
    until(|| publisher.subscribers() == 2).await;
    assert_eq!(publisher.deliver(Audience::Topics(&few), &b"x"[..]).delivered, 1);
}

#[tokio::test]
async fn who_never_reads_is_closed_even_if_it_knows_no_heartbeats() {
    let options =
        PublisherOptions { stall_timeout: Duration::from_millis(200), ..Default::default() };
    let publisher = Publisher::bind(local(), options).unwrap();
    let mut stuck = TcpStream::connect(publisher.local_addr()).await.unwrap();
    let mut old = greeting();
    old[11] = 0;
    let subscribing = [old, ready("SUB"), b"\x00\x01\x01".to_vec()].concat();
    stuck.write_all(&subscribing).await.unwrap();
    until(|| publisher.subscribers() == 1).await;
    for _ in 0..30 {
        publisher.publish(None, vec![0; 1 << 20]);
    }
    until(|| publisher.connections() == 0).await;
    let counters = publisher.counters();
    assert_eq!(counters.closed_by(CloseReason::Stalled), 1);
    assert!(counters.dropped > 0);
}

#[tokio::test]
async fn what_a_lost_subscriber_did_not_get_is_counted() {
    let publisher = Publisher::bind(local(), PublisherOptions::default()).unwrap();
    let mut stuck = TcpStream::connect(publisher.local_addr()).await.unwrap();
    let subscribing = [greeting(), ready("SUB"), b"\x00\x01\x01".to_vec()].concat();
    stuck.write_all(&subscribing).await.unwrap();
    until(|| publisher.subscribers() == 1).await;
    let payload: Arc<[u8]> = vec![0; 1 << 20].into();
    // The system takes some megabytes and no more.
    for _ in 0..30 {
        assert_eq!(publisher.publish(None, payload.clone()).delivered, 1);
    }
    let (waiting, bytes) = publisher.waiting();
    assert!(waiting > 0 && bytes > (waiting - 1) << 20, "{waiting} {bytes}");
    assert_eq!(publisher.counters().dropped, 0);
    drop(stuck);
    until(|| publisher.connections() == 0).await;
    let dropped = publisher.counters().dropped;
    assert!(dropped > 0 && dropped <= waiting as u64, "{dropped} of {waiting}");
    assert_eq!(publisher.waiting(), (0, 0));
}

async fn answered(router: Arc<Router>) {
    while let Some(request) = router.recv().await {
        let body = request.body.clone();
        request.reply.send(body);
    }
}

fn router(options: RouterOptions) -> (Arc<Router>, String) {
    let router = Arc::new(Router::bind(local(), options).unwrap());
    tokio::spawn(answered(Arc::clone(&router)));
    let address = router.local_addr().to_string();
    (router, address)
}

#[tokio::test]
async fn idle_connections_for_requests_give_way_and_come_back() {
    let places = Places::of(0);
    let limit = places.limit();
    let (router, address) =
        router(RouterOptions { places: Some(places.clone()), ..RouterOptions::default() });
    let options = PublisherOptions { places: Some(places.clone()), ..PublisherOptions::default() };
    let publisher = Publisher::bind(local(), options).unwrap();
    let clients: Vec<Requester> =
        (0..30).map(|_| Requester::new(&*address, RequesterOptions::default())).collect();
    // Each of them is served, although their connections together are many more than there may be,
    // with most of the places taken by subscriptions on the way.
    let mut subscriptions = Vec::new();
    for round in 0..3 {
        for client in &clients {
            let ask = || client.request(b"x".to_vec(), LONG);
            let mut answer = ask().await;
            while matches!(answer, Err(RequestError::Closed)) {
                answer = ask().await;
            }
            assert_eq!(answer.unwrap(), b"x");
        }
        if round == 0 {
            for _ in 0..4 {
                subscriptions.push(subscribe(&publisher, &[b""]).await);
            }
        }
    }
    assert!(router.counters().closed_by(CloseReason::GaveWay) >= 30);
    until(|| places.used() <= limit).await;
    // Subscriptions leave some places to requests.
    let address = publisher.local_addr().to_string();
    let one_more = Subscriber::connect(&address, SubscriberOptions::default(), &[b""]);
    assert!(one_more.await.is_err());
    assert_eq!(publisher.counters().closed_by(CloseReason::NoRoom), 1);
    assert_eq!(publisher.publish(None, &b"all there"[..]).delivered, 4);
    drop(subscriptions);
    until(|| publisher.connections() == 0).await;
}

#[tokio::test]
async fn a_connection_with_a_request_in_hand_does_not_give_way() {
    let places = Places::of(0);
    let options = RouterOptions { places: Some(places.clone()), ..RouterOptions::default() };
    let router = Router::bind(local(), options).unwrap();
    let address = router.local_addr().to_string();
    let client = Requester::new(&*address, RequesterOptions::default());
    let asked = client.request(b"slow".to_vec(), LONG);
    tokio::pin!(asked);
    let request = tokio::select! {
        request = router.recv() => request.unwrap(),
        _ = &mut asked => panic!("nobody has answered"),
    };
    // Others come and go until the first of them has been sent away.
    let mut others = Vec::new();
    while router.counters().closed_by(CloseReason::GaveWay) == 0 {
        others.push(raw(&address, "REQ").await);
        until(|| router.counters().open <= places.limit() as u64).await;
    }
    request.reply.send(b"done".to_vec());
    assert_eq!(asked.await.unwrap(), b"done");
}

#[tokio::test]
async fn the_rate_of_new_connections_is_bounded() {
    let (router, address) = router(RouterOptions { accept_rate: 5, ..RouterOptions::default() });
    let begin = Instant::now();
    let mut peers = Vec::new();
    // On a slow machine seven may come no faster than the rate.
    while router.counters().accept_waited == 0 {
        peers.push(raw(&address, "REQ").await);
    }
    assert!(peers.len() >= 5, "{}", peers.len());
    peers.push(raw(&address, "REQ").await);
    assert_eq!(router.counters().accepted, peers.len() as u64, "all are served in the end");
    let least = Duration::from_secs(peers.len() as u64 - 5) / 5;
    assert!(begin.elapsed() >= least, "{:?} for {}", begin.elapsed(), peers.len());
}

#[tokio::test]
async fn what_is_answered_at_once_does_not_overtake_and_is_no_request() {
    fn echo(body: &[u8]) -> Option<Vec<u8>> {
        body.starts_with(b"ping").then(|| body.to_vec())
    }
    let options = RouterOptions { at_once: Some(echo), ..RouterOptions::default() };
    let router = Router::bind(local(), options).unwrap();
    let address = router.local_addr().to_string();
    let client = Requester::new(&*address, RequesterOptions::default());
    // Nobody calls `recv`.
    assert_eq!(client.request(b"ping 1".to_vec(), LONG).await.unwrap(), b"ping 1");
    let lonely = client.request(b"other".to_vec(), Duration::from_millis(50)).await;
    assert_eq!(lonely, Err(RequestError::Timeout));
    let mut dealer = raw(&address, "DEALER").await;
    dealer.write_all(b"\x01\x00\x00\x05other\x01\x00\x00\x04ping").await.unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let request = tokio::time::timeout(LONG, router.recv()).await.expect("nothing").unwrap();
        if request.body == b"ping" || request.peer == dealer.local_addr().unwrap() {
            bodies.push(request.body.clone());
        }
        request.reply.send(b"answer".to_vec());
    }
    assert_eq!(bodies, [b"other".to_vec(), b"ping".to_vec()]);
}
