//! A crowd of peers for measuring a master's sockets: subscribers that send ZMTP PINGs and request
//! connections that send the clear `ping`, over the real wire and without any key.
//!
//! `crowd PUBLISH_ADDRESS REQUEST_ADDRESS SUBSCRIBERS REQUESTERS INTERVAL_MS SECONDS`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use saltern_zmtp::{Config, Connection, Event, Limits, SocketType, encode_message, encode_ping};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

/// `{"enc": "clear", "load": {"cmd": "ping"}, "version": 3}`
const PING: &[u8] = b"\x83\xa3enc\xa5clear\xa4load\x81\xa3cmd\xa4ping\xa7version\x03";

#[derive(Default)]
struct Seen {
    connected: AtomicU64,
    failed: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
    messages: AtomicU64,
}

struct Plan {
    address: SocketAddr,
    kind: SocketType,
    number: usize,
    of: usize,
    interval: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize| args[i].parse::<usize>().unwrap();
    let interval = Duration::from_millis(number(5) as u64);
    let seen = Arc::new(Seen::default());
    for (address, kind, of) in
        [(&args[1], SocketType::Sub, number(3)), (&args[2], SocketType::Req, number(4))]
    {
        let address: SocketAddr = address.parse().unwrap();
        for number in 0..of {
            let plan = Plan { address, kind, number, of, interval };
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                if one(plan, &seen).await.is_err() {
                    seen.failed.fetch_add(1, Relaxed);
                }
            });
            if number % 100 == 99 {
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    let end = Instant::now() + Duration::from_secs(number(6) as u64);
    while Instant::now() < end {
        sleep(Duration::from_secs(1)).await;
        println!(
            "connected {} failed {} asked {} answered {} messages {}",
            seen.connected.load(Relaxed),
            seen.failed.load(Relaxed),
            seen.asked.load(Relaxed),
            seen.answered.load(Relaxed),
            seen.messages.load(Relaxed)
        );
    }
}

async fn one(plan: Plan, seen: &Seen) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    // One address has some 28,000 ports.
    let source = [127, 0, 0, 1 + (plan.number / 20_000) as u8];
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let mut stream = socket.connect(plan.address).await?;
    stream.set_nodelay(true)?;
    let config = Config {
        socket_type: plan.kind,
        identity: Vec::new(),
        limits: Limits::messages_of(1 << 20),
    };
    let mut out = Vec::new();
    let mut connection = Connection::new(Arc::new(config), &mut out);
    stream.write_all(&out).await?;
    while !connection.is_open() {
        turn(&mut stream, &mut connection, seen).await?;
    }
    if plan.kind == SocketType::Sub {
        let mut out = Vec::new();
        connection.encode_subscribe(&mut out, b"");
        stream.write_all(&out).await?;
    }
    seen.connected.fetch_add(1, Relaxed);
    let offset = plan.interval.mul_f64(plan.number as f64 / plan.of as f64);
    let mut next = Instant::now() + offset;
    loop {
        tokio::select! {
            turned = turn(&mut stream, &mut connection, seen) => turned?,
            () = sleep_until(next), if !plan.interval.is_zero() => {
                next += plan.interval;
                let mut out = Vec::new();
                match plan.kind {
                    SocketType::Sub => encode_ping(&mut out, 0, b"abcd"),
                    _ => encode_message(&mut out, &[b"", PING]),
                }
                seen.asked.fetch_add(1, Relaxed);
                stream.write_all(&out).await?;
            }
        }
    }
}

async fn turn(
    stream: &mut TcpStream,
    connection: &mut Connection,
    seen: &Seen,
) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer).await?;
    if n == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut out = Vec::new();
    let mut input = &buffer[..n];
    while let Some(event) =
        connection.receive(&mut input, &mut out).map_err(std::io::Error::other)?
    {
        match event {
            Event::Pong(_) => {
                seen.answered.fetch_add(1, Relaxed);
            }
            Event::Message(frames) if frames.len() == 2 => {
                seen.answered.fetch_add(1, Relaxed);
            }
            Event::Message(_) => {
                seen.messages.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }
    stream.write_all(&out).await
}
