//! Two connections talking to each other, and one being talked to by rogues.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::Arc;

use saltern_zmtp::{
    Config, Connection, Error, Event, GREETING_LEN, Limits, SocketType, encode_message, encode_ping,
};

fn config(socket_type: SocketType, identity: &[u8], message: usize) -> Arc<Config> {
    let limits = Limits::messages_of(message);
    Arc::new(Config { socket_type, identity: identity.to_vec(), limits })
}

struct End {
    connection: Connection,
    out: Vec<u8>,
    events: Vec<Event>,
}

impl End {
    fn new(config: &Arc<Config>) -> End {
        let mut out = Vec::new();
        let connection = Connection::new(config.clone(), &mut out);
        End { connection, out, events: Vec::new() }
    }

    fn feed(&mut self, mut input: &[u8]) -> Result<(), Error> {
        while let Some(event) = self.connection.receive(&mut input, &mut self.out)? {
            self.events.push(event);
        }
        assert!(input.is_empty(), "bytes left over");
        Ok(())
    }
}

/// Passes bytes between the two, in pieces of `step`, until both are quiet.
fn talk(a: &mut End, b: &mut End, step: usize) -> Result<(), Error> {
    loop {
        let (to_b, to_a) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
        if to_a.is_empty() && to_b.is_empty() {
            return Ok(());
        }
        to_b.chunks(step).try_for_each(|piece| b.feed(piece))?;
        to_a.chunks(step).try_for_each(|piece| a.feed(piece))?;
    }
}

fn pair(a: SocketType, b: SocketType, message: usize) -> (End, End) {
    let (mut a, mut b) = (End::new(&config(a, b"me", message)), End::new(&config(b, b"", message)));
    talk(&mut a, &mut b, 64).unwrap();
    assert!(a.connection.is_open() && b.connection.is_open());
    a.events.clear();
    b.events.clear();
    (a, b)
}

#[test]
fn handshake_in_pieces_of_any_size() {
    for step in [1, 2, 3, 7, 63, 64, 65, 1000] {
        let mut req = End::new(&config(SocketType::Req, b"web1", 100));
        let mut router = End::new(&config(SocketType::Router, b"", 100));
        talk(&mut req, &mut router, step).unwrap();
        let [Event::Ready(peer)] = &router.events[..] else { panic!("{:?}", router.events) };
        assert_eq!((peer.socket_type, &peer.identity[..]), (SocketType::Req, &b"web1"[..]));
        assert_eq!((peer.minor, req.connection.held()), (1, 0));
    }
}

#[test]
fn messages_of_any_length_in_pieces_of_any_size() {
    for length in [0, 1, 255, 256, 300, 70_000] {
        for step in [1, 9, 4096, 1 << 20] {
            let (mut req, mut router) = pair(SocketType::Req, SocketType::Router, 100_000);
            let body = vec![7; length];
            encode_message(&mut req.out, &[b"", &body]);
            encode_message(&mut req.out, &[b"x"]);
            talk(&mut req, &mut router, step).unwrap();
            let want = [Event::Message(vec![vec![], body]), Event::Message(vec![b"x".to_vec()])];
            assert_eq!(router.events, want, "{length} bytes by {step}");
            assert_eq!(router.connection.held(), 0);
        }
    }
}

#[test]
fn wrong_socket_types_are_refused_with_an_error_command() {
    let mut sub = End::new(&config(SocketType::Sub, b"", 100));
    let mut router = End::new(&config(SocketType::Router, b"", 100));
    sub.feed(&std::mem::take(&mut router.out)).unwrap();
    let error = router.feed(&std::mem::take(&mut sub.out)).unwrap_err();
    assert_eq!(error, Error::WrongType("SUB".into()));
    // It is told the reason as the protocol allows, and nothing works afterwards.
    let refused = sub.feed(&std::mem::take(&mut router.out)).unwrap_err();
    assert!(matches!(refused, Error::WrongType(_) | Error::Refused(_)), "{refused:?}");
    assert!(router.feed(b"\x00\x00").is_err());
}

#[test]
fn subscriptions_of_both_versions() {
    for minor in [0u8, 1] {
        let mut publisher = End::new(&config(SocketType::Pub, b"", 64));
        let mut sub = End::new(&config(SocketType::Sub, b"", 64));
        let mut greeting = std::mem::take(&mut publisher.out);
        greeting[11] = minor;
        sub.feed(&greeting).unwrap();
        talk(&mut sub, &mut publisher, 1000).unwrap();
        let mut out = Vec::new();
        sub.connection.encode_subscribe(&mut out, b"broadcast");
        assert_eq!(out.contains(&b'S'), minor == 1);
        publisher.feed(&out).unwrap();
        publisher.feed(b"\x00\x0a\x00broadcast").unwrap();
        publisher.feed(b"\x04\x10\x06CANCELbroadcast").unwrap();
        let topic = || b"broadcast".to_vec();
        let want = [Event::Subscribe(topic()), Event::Cancel(topic()), Event::Cancel(topic())];
        assert_eq!(publisher.events[1..], want);
        assert!(publisher.feed(b"\x00\x02hi").is_err(), "a publisher takes no messages");
    }
}

#[test]
fn pings_are_answered_with_their_context() {
    let (mut a, mut b) = pair(SocketType::Sub, SocketType::Pub, 100);
    encode_ping(&mut a.out, 300, b"ctx");
    talk(&mut a, &mut b, 5).unwrap();
    assert_eq!(a.events, [Event::Pong(b"ctx".to_vec())]);
    assert!(b.events.is_empty());
}

#[test]
fn announced_lengths_reserve_nothing_and_limits_hold() {
    let long = |length: u64, flags: u8| [&[flags | 2][..], &length.to_be_bytes()].concat();
    for length in [1u64 << 62, u64::MAX, 8 << 30, 1002] {
        let (_, mut router) = pair(SocketType::Req, SocketType::Router, 1000);
        let error = router.feed(&long(length, 0)).unwrap_err();
        assert_eq!(error, Error::TooLong("message"), "{length}");
    }
    let (_, mut router) = pair(SocketType::Req, SocketType::Router, 1 << 40);
    router.feed(&long(1 << 39, 0)).unwrap();
    assert_eq!(router.connection.held(), 0);
    router.feed(&[1; 1000]).unwrap();
    assert!(router.connection.held() <= 2000, "{}", router.connection.held());

    let (_, mut router) = pair(SocketType::Req, SocketType::Router, 1000);
    assert_eq!(router.feed(&long(5000, 4)), Err(Error::TooLong("command")));
    let (_, mut router) = pair(SocketType::Req, SocketType::Router, 1000);
    assert_eq!(router.feed(&[1, 0].repeat(100)), Err(Error::TooLong("number of frames")));
    let (_, mut router) = pair(SocketType::Req, SocketType::Router, 1000);
    let part = [&[1, 250][..], &[0; 250]].concat();
    assert_eq!(router.feed(&part.repeat(5)), Err(Error::TooLong("message")));
}

#[test]
fn room_for_a_frame_is_twice_what_arrived_and_at_most_what_was_announced() {
    let (_, mut router) = pair(SocketType::Req, SocketType::Router, 1000);
    router.feed(&[&[0, 200][..], &[7; 40]].concat()).unwrap();
    for (more, held) in [(0, 80), (30, 80), (20, 180), (90, 180), (19, 200)] {
        router.feed(&vec![7; more]).unwrap();
        assert_eq!(router.connection.held(), held, "{more} bytes more");
    }
    router.feed(&[7]).unwrap();
    assert_eq!(router.events, [Event::Message(vec![vec![7; 200]])]);
    assert_eq!(router.connection.held(), 0);
}

#[test]
fn a_message_before_the_handshake_is_refused() {
    let mut router = End::new(&config(SocketType::Router, b"", 1000));
    let mut req = End::new(&config(SocketType::Req, b"", 1000));
    let mut bytes = std::mem::take(&mut req.out);
    encode_message(&mut bytes, &[b"", b"early"]);
    assert!(matches!(router.feed(&bytes), Err(Error::Malformed(_))));
    let http = End::new(&config(SocketType::Router, b"", 9)).feed(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(http, Err(Error::NotZmtp));
}

/// Valid conversations with bytes flipped, cut, doubled and inserted: no panic, no memory beyond
/// what arrived, and never an event after an error.
#[test]
fn mutated_conversations_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(0x5a17);
    for round in 0..20_000 {
        let kind = if round % 2 == 0 { SocketType::Router } else { SocketType::Pub };
        let mut server = End::new(&config(kind, b"", 10_000));
        let mut bytes = conversation(kind);
        for _ in 0..random.usize(1..6) {
            mutate(&mut bytes, &mut random);
        }
        let mut failed = false;
        let step = random.usize(1..200);
        for piece in bytes.chunks(step) {
            let before = server.events.len();
            failed |= server.feed(piece).is_err();
            assert!(!failed || server.feed(piece).is_err());
            assert!(server.connection.held() <= 2 * bytes.len() + GREETING_LEN);
            if failed {
                assert_eq!(server.connection.held(), 0);
                assert!(server.events.len() >= before);
                break;
            }
        }
    }
}

fn conversation(kind: SocketType) -> Vec<u8> {
    let peer = if kind == SocketType::Pub { SocketType::Sub } else { SocketType::Req };
    let mut client = End::new(&config(peer, b"id", 10_000));
    let mut server = End::new(&config(kind, b"", 10_000));
    let mut bytes = client.out.clone();
    client.feed(&server.out.split_off(0)).unwrap();
    bytes.extend_from_slice(&client.out[bytes.len()..]);
    if kind == SocketType::Pub {
        client.connection.encode_subscribe(&mut bytes, b"broadcast");
        bytes.extend_from_slice(b"\x00\x02\x01b\x00\x02\x00b");
    } else {
        encode_message(&mut bytes, &[b"", &[3; 300]]);
        encode_message(&mut bytes, &[b"", b"short"]);
    }
    encode_ping(&mut bytes, 1, b"x");
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(..bytes.len());
    match random.u8(..5) {
        0 => bytes[at] ^= 1 << random.u8(..8),
        1 => bytes[at] = random.u8(..),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.u8(..)),
        _ => {
            let tail = bytes[at..].to_vec();
            bytes.extend_from_slice(&tail);
        }
    }
}
