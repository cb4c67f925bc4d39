//! Our subscriber against our publisher, and rogues against both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{LONG, deaf, greeting, local, ready, until};
use saltern_transport::zeromq::{
    CloseReason, Heartbeat, Lost, LostReason, PublishReport, Publisher, PublisherOptions, Router,
    RouterOptions, Subscriber, SubscriberOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn bind(options: PublisherOptions) -> (Publisher, String) {
    let publisher = Publisher::bind(local(), options).unwrap();
    let address = publisher.local_addr().to_string();
    (publisher, address)
}

async fn subscribe(address: &str, topics: &[&[u8]]) -> Subscriber {
    Subscriber::connect(address, SubscriberOptions::default(), topics).await.unwrap()
}

async fn next(subscriber: &mut Subscriber) -> Result<Vec<Vec<u8>>, Lost> {
    tokio::time::timeout(LONG, subscriber.next()).await.expect("no message")
}

#[tokio::test]
async fn messages_reach_those_who_want_them() {
    let (publisher, address) = bind(PublisherOptions::default());
    let mut all = subscribe(&address, &[b""]).await;
    let options = SubscriberOptions { identity: b"web1".to_vec(), ..SubscriberOptions::default() };
    let mut some = Subscriber::connect(&address, options, &[b"broadcast", b"abc"]).await.unwrap();
    until(|| publisher.subscribers() == 2).await;
    assert!(publisher.peers().iter().any(|p| p.identity == b"web1"));

    let large = vec![7u8; 5 << 20];
    let both = PublishReport { delivered: 2, dropped: 0 };
    assert_eq!(publisher.publish(Some("broadcast"), large.clone()), both);
    assert_eq!(publisher.publish(Some("xyz"), &b"1"[..]).delivered, 1);
    // Both prefixes may come in one piece or two.
    until(|| publisher.publish(None, &b"abcdef"[..]).delivered == 2).await;
    let topic = b"broadcast".to_vec();
    assert_eq!(next(&mut all).await.unwrap(), [topic.clone(), large.clone()]);
    assert_eq!(next(&mut all).await.unwrap(), [b"xyz".to_vec(), b"1".to_vec()]);
    assert_eq!(next(&mut all).await.unwrap(), [b"abcdef"]);
    assert_eq!(next(&mut some).await.unwrap(), [topic, large]);
    assert_eq!(next(&mut some).await.unwrap(), [b"abcdef"]);
    drop(some);
    until(|| publisher.subscribers() == 1).await;
}

#[tokio::test]
async fn what_was_published_before_the_end_arrives_and_then_the_loss() {
    let (publisher, address) = bind(PublisherOptions::default());
    let mut subscriber = subscribe(&address, &[b""]).await;
    until(|| publisher.subscribers() == 1).await;
    for i in 0..500u16 {
        publisher.publish(None, i.to_be_bytes().to_vec());
    }
    publisher.close(LONG).await;
    for i in 0..500u16 {
        assert_eq!(next(&mut subscriber).await.unwrap(), [i.to_be_bytes()]);
    }
    let closed = Lost { reason: LostReason::Closed };
    assert_eq!(next(&mut subscriber).await.unwrap_err(), closed);
    assert_eq!(next(&mut subscriber).await.unwrap_err(), closed);
}

#[tokio::test]
async fn some_are_dismissed_after_what_waits_for_them_and_the_port_opens_again() {
    let (publisher, address) = bind(PublisherOptions::default());
    let options = SubscriberOptions { identity: b"web1".to_vec(), ..SubscriberOptions::default() };
    let mut leaves = Subscriber::connect(&address, options, &[b""]).await.unwrap();
    let mut stays = subscribe(&address, &[b""]).await;
    until(|| publisher.subscribers() == 2).await;
    publisher.stop_listening().await;
    assert!(!publisher.is_listening() && TcpStream::connect(&address).await.is_err());
    for i in 0..500u16 {
        publisher.publish(None, i.to_be_bytes().to_vec());
    }
    assert_eq!(publisher.dismiss(|peer| peer.identity == b"web1"), 1);
    assert_eq!(publisher.dismiss(|peer| peer.identity == b"web1"), 0, "only once");
    for i in 0..500u16 {
        assert_eq!(next(&mut leaves).await.unwrap(), [i.to_be_bytes()]);
        assert_eq!(next(&mut stays).await.unwrap(), [i.to_be_bytes()]);
    }
    assert_eq!(next(&mut leaves).await.unwrap_err().reason, LostReason::Closed);
    until(|| publisher.connections() == 1).await;
    publisher.listen_again().unwrap();
    publisher.listen_again().unwrap();
    assert_eq!(publisher.local_addr().to_string(), address);
    let mut back = subscribe(&address, &[b""]).await;
    until(|| publisher.subscribers() == 2).await;
    publisher.publish(None, &b"again"[..]);
    assert_eq!(next(&mut back).await.unwrap(), [b"again"]);
    assert_eq!(next(&mut stays).await.unwrap(), [b"again"]);
}

#[tokio::test]
async fn a_slow_subscriber_loses_messages_and_nobody_else_does() {
    let (publisher, address) = bind(PublisherOptions { hwm: 10, ..PublisherOptions::default() });
    // Subscribes and then never reads.
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let subscribing = [greeting(), ready("SUB"), b"\x00\x01\x01".to_vec()].concat();
    slow.write_all(&subscribing).await.unwrap();
    let mut good = subscribe(&address, &[b""]).await;
    until(|| publisher.subscribers() == 2).await;
    let payload: Arc<[u8]> = vec![0u8; 1 << 20].into();
    let mut dropped = 0;
    for _ in 0..60 {
        let report = publisher.publish(None, payload.clone());
        assert!(report.delivered >= 1);
        dropped += report.dropped;
        assert_eq!(next(&mut good).await.unwrap()[0].len(), 1 << 20);
    }
    assert!(dropped > 20, "{dropped}");
    assert_eq!(publisher.counters().dropped, dropped as u64);
    let worst = publisher.peers().iter().map(|p| p.dropped).max();
    assert_eq!(worst, Some(dropped as u64));
}

#[tokio::test]
async fn heartbeats_measure_the_way_and_find_the_mute() {
    // So long that the living one answers in time on a machine that is very busy.
    let (interval, timeout) = (Duration::from_millis(10), Duration::from_secs(4));
    let quick = Some(Heartbeat { interval, timeout });
    let (publisher, address) =
        bind(PublisherOptions { heartbeat: quick, ..PublisherOptions::default() });
    let options = SubscriberOptions { heartbeat: quick, ..SubscriberOptions::default() };
    let subscriber = Subscriber::connect(&address, options.clone(), &[b""]).await.unwrap();
    until(|| subscriber.latency().is_some()).await;

    // A subscriber that shakes hands and then says nothing any more, and a publisher that does so.
    let mut mute = TcpStream::connect(&address).await.unwrap();
    mute.write_all(&[greeting(), ready("SUB")].concat()).await.unwrap();
    let listener = TcpListener::bind(local()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&[greeting(), ready("PUB")].concat()).await.unwrap();
        while stream.read(&mut [0; 1000]).await.is_ok_and(|n| n > 0) {}
    });
    let mut lonely = Subscriber::connect(&address, options, &[b""]).await.unwrap();
    assert_eq!(next(&mut lonely).await.unwrap_err(), Lost { reason: LostReason::Silent });
    until(|| publisher.counters().closed_by(CloseReason::Silent) == 1).await;
    assert_eq!(publisher.subscribers(), 1, "the living one stays");
}

#[tokio::test]
async fn losses_have_their_reasons() {
    async fn failed(address: &str, options: SubscriberOptions) -> LostReason {
        Subscriber::connect(address, options, &[b""]).await.unwrap_err().reason
    }
    let options = SubscriberOptions::default;
    let (_socket, free) = deaf();
    assert_eq!(failed(&free.to_string(), options()).await, LostReason::Refused);
    let patient = SubscriberOptions { timeout: LONG, ..options() };
    let named = failed("no.such.host.invalid:4505", patient).await;
    assert!(matches!(named, LostReason::Resolve(_)), "{named:?}");
    let mute = TcpListener::bind(local()).await.unwrap();
    let short = SubscriberOptions { timeout: Duration::from_millis(50), ..options() };
    let silent = failed(&mute.local_addr().unwrap().to_string(), short).await;
    assert_eq!(silent, LostReason::Timeout);
    // A request server is no publisher.
    let router = Router::bind(local(), RouterOptions::default()).unwrap();
    let wrong = failed(&router.local_addr().to_string(), options()).await;
    assert!(matches!(wrong, LostReason::Protocol(_)), "{wrong:?}");

    let (publisher, address) = bind(PublisherOptions::default());
    let small = SubscriberOptions { max_message: 1000, ..options() };
    let mut subscriber = Subscriber::connect(&address, small, &[b""]).await.unwrap();
    until(|| publisher.subscribers() == 1).await;
    publisher.publish(None, vec![0; 2000]);
    let long = next(&mut subscriber).await.unwrap_err().reason;
    assert!(matches!(long, LostReason::Protocol(_)), "{long:?}");
}

#[tokio::test]
async fn rogues_at_the_publisher_are_closed_and_counted() {
    let (publisher, address) =
        bind(PublisherOptions { max_subscriptions: 10, ..PublisherOptions::default() });
    let mut http = TcpStream::connect(&address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let topics: Vec<[u8; 2]> = (0..20u16).map(u16::to_be_bytes).collect();
    let topics: Vec<&[u8]> = topics.iter().map(|t| &t[..]).collect();
    let mut greedy = subscribe(&address, &topics).await;
    assert_eq!(next(&mut greedy).await.unwrap_err().reason, LostReason::Closed);
    until(|| publisher.counters().open == 0).await;
    let counters = publisher.counters();
    assert_eq!(counters.closed_by(CloseReason::Garbage), 1);
    assert_eq!(counters.closed_by(CloseReason::TooLong), 1);
    let mut good = subscribe(&address, &[b""]).await;
    until(|| publisher.subscribers() == 1).await;
    publisher.publish(None, &b"alive"[..]);
    assert_eq!(next(&mut good).await.unwrap(), [b"alive"]);

    let handshake_timeout = Duration::from_millis(50);
    let (hasty, address) =
        bind(PublisherOptions { handshake_timeout, ..PublisherOptions::default() });
    let _silent = TcpStream::connect(&address).await.unwrap();
    until(|| hasty.counters().closed_by(CloseReason::HandshakeTimeout) == 1).await;
}
