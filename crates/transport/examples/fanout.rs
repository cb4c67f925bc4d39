//! What it costs to publish to a crowd, beside bare writes of the same bytes to as many sockets.
//! The crowd reads in a process of its own.
//!
//! `fanout SUBSCRIBERS BYTES TIMES`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use saltern_transport::zeromq::{Audience, Publisher, PublisherOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize| args[i].parse::<usize>().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if args[1] == "sink" {
        return runtime.block_on(sink(args[2].parse().unwrap(), number(3)));
    }
    let (subscribers, bytes, times) = (number(1), number(2), number(3));
    // The connections are served by one thread, as on a small master.
    let _inside = runtime.enter();
    let publisher =
        Publisher::bind(SocketAddr::from(([127, 0, 0, 1], 0)), PublisherOptions::default());
    let publisher = publisher.unwrap();
    let address = publisher.local_addr();
    std::thread::scope(|scope| {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(|| drop(runtime.block_on(stopped)));
        let mut crowd = spawn(address, subscribers);
        while publisher.subscribers() < subscribers {
            std::thread::sleep(Duration::from_millis(50));
        }
        report("publisher", subscribers, times, |_| {
            let to = Audience::Everybody { topic: "broadcast" };
            assert_eq!(publisher.deliver(to, vec![1; bytes]).delivered, subscribers);
        });
        crowd.kill().unwrap();
        drop((crowd.wait(), stop));
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut crowd = spawn(listener.local_addr().unwrap(), subscribers);
    let streams: Vec<_> = (0..subscribers).map(|_| listener.accept().unwrap().0).collect();
    streams.iter().for_each(|stream| stream.set_nodelay(true).unwrap());
    report("bare writes", subscribers, times, |_| {
        let frame = vec![1; bytes + 9];
        streams.iter().for_each(|mut stream| stream.write_all(&frame).unwrap());
    });
    crowd.kill().unwrap();
    drop(crowd.wait());
}

fn spawn(address: SocketAddr, number: usize) -> Child {
    let own = std::env::current_exe().unwrap();
    let args = ["sink".to_owned(), address.to_string(), number.to_string()];
    Command::new(own).args(args).spawn().unwrap()
}

fn report(what: &str, subscribers: usize, times: usize, mut publish: impl FnMut(usize)) {
    let mut cpu = Vec::new();
    let mut wall = Vec::new();
    for time in 0..times {
        std::thread::sleep(Duration::from_millis(200));
        let (start, began) = (Instant::now(), clock_gettime(ClockId::ProcessCPUTime));
        publish(time);
        wall.push(start.elapsed().as_secs_f64());
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let nanos = (used.tv_sec - began.tv_sec) * 1_000_000_000 + used.tv_nsec - began.tv_nsec;
        cpu.push(nanos as f64 / 1e3 / subscribers as f64);
    }
    cpu.sort_by(f64::total_cmp);
    wall.sort_by(f64::total_cmp);
    println!(
        "{what}: {:.2} us of CPU a subscriber (least {:.2}), {:.1} ms for all {subscribers}",
        cpu[times / 2],
        cpu[0],
        wall[times / 2] * 1e3
    );
}

/// Greets, subscribes to everything, reads for ever.
async fn sink(address: SocketAddr, number: usize) {
    let mut hello = vec![0; 64];
    (hello[0], hello[9], hello[10], hello[11]) = (0xff, 0x7f, 3, 1);
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend_from_slice(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB");
    hello.extend_from_slice(b"\x04\x0a\x09SUBSCRIBE");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..number {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        });
    }
    while tasks.join_next().await.is_some() {}
}
