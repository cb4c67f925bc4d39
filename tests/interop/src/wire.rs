//! A bad link where the kernel has no netem: a relay between a host's cable and the bridge that
//! keeps each frame for a while, loses some and lets some overtake.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::net::{Quality, ip};

/// How long a reader waits for a frame before it looks whether the link was mended.
const LOOK: i64 = 100;

/// The relay at work.
pub(crate) struct Wire {
    switch: String,
    port: String,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

type Waiting = (Instant, u64, Vec<u8>);

impl Wire {
    /// Unplugs `port` from the bridge of the namespace `switch` and carries its frames instead.
    pub(crate) fn start(switch: &str, port: &str, quality: Quality) -> Self {
        let (near, far) = (format!("{port}a"), format!("{port}b"));
        ip(&["-n", switch, "link", "add", &near, "type", "veth", "peer", "name", &far]);
        ip(&["-n", switch, "link", "set", &near, "up"]);
        ip(&["-n", switch, "link", "set", &far, "master", "br0", "up"]);
        ip(&["-n", switch, "link", "set", port, "nomaster"]);
        let ended = Arc::new(AtomicBool::new(false));
        let [cable, bridge] = taps(switch, port, &near).map(Arc::new);
        let mut threads = Vec::new();
        for (from, to) in [(&cable, &bridge), (&bridge, &cable)] {
            let (send, receive) = channel();
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&ended));
            threads.push(std::thread::spawn(move || read(&from, quality, &send, &stop)));
            threads.push(std::thread::spawn(move || write(&to, &receive)));
        }
        Wire { switch: switch.to_owned(), port: port.to_owned(), ended, threads }
    }

    /// Plugs the port into the bridge again.
    pub(crate) fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        ip(&["-n", &self.switch, "link", "del", &format!("{}a", self.port)]);
        ip(&["-n", &self.switch, "link", "set", &self.port, "master", "br0"]);
    }
}

/// Sockets that see and send every frame of the two devices. A socket belongs to the namespace in
/// which it was made, so a thread of its own goes there for that.
fn taps(switch: &str, cable: &str, bridge: &str) -> [OwnedFd; 2] {
    let namespace = File::open(format!("/run/netns/{switch}")).unwrap();
    let names = [cable.to_owned(), bridge.to_owned()];
    std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        names.map(|name| tap(&name))
    })
    .join()
    .unwrap()
}

fn tap(device: &str) -> OwnedFd {
    // It says no protocol, so binding to it keeps the socket's own: all.
    let address: LinkAddr = nix::ifaddrs::getifaddrs()
        .unwrap()
        .filter(|i| i.interface_name == device)
        .find_map(|i| i.address?.as_link_addr().copied())
        .unwrap();
    let kind = (AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC);
    let tap = socket(kind.0, kind.1, kind.2, SockProtocol::EthAll).unwrap();
    bind(tap.as_raw_fd(), &address).unwrap();
    setsockopt(&tap, sockopt::ReceiveTimeout, &TimeVal::milliseconds(LOOK)).unwrap();
    tap
}

fn read(tap: &OwnedFd, quality: Quality, out: &Sender<Waiting>, ended: &AtomicBool) {
    let mut buffer = vec![0; 70_000];
    let mut count = 0;
    let chance = |percent: u32| fastrand::u32(0..100) < percent;
    while !ended.load(Ordering::Relaxed) {
        let Ok(size) = recv(tap.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { continue };
        if chance(quality.loss) {
            continue;
        }
        let mut frame = buffer[..size].to_vec();
        checksum(&mut frame);
        let least = quality.delay.saturating_sub(quality.jitter);
        let delay = match chance(quality.reorder) {
            true => 0,
            false => fastrand::u32(least..=quality.delay + quality.jitter),
        };
        count += 1;
        let due = Instant::now() + Duration::from_millis(delay.into());
        if out.send((due, count, frame)).is_err() {
            return;
        }
    }
}

/// Sends frames when they are due, until the reader has ended.
fn write(tap: &OwnedFd, arriving: &Receiver<Waiting>) {
    let mut waiting: BinaryHeap<Reverse<Waiting>> = BinaryHeap::new();
    loop {
        let now = Instant::now();
        while waiting.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, frame))) = waiting.pop() {
                // A frame that cannot be sent is one more that got lost.
                let _ = send(tap.as_raw_fd(), &frame, MsgFlags::empty());
            }
        }
        let patience = waiting.peek().map_or(Duration::from_secs(1), |Reverse((due, ..))| {
            due.saturating_duration_since(Instant::now())
        });
        match arriving.recv_timeout(patience) {
            Ok(frame) => waiting.push(Reverse(frame)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Fills in the checksum of TCP over IPv4, which the kernel leaves to the network card that a veth
/// does not have (RFC 9293, section 3.1).
fn checksum(frame: &mut [u8]) {
    const ETHERNET: usize = 14;
    if frame.len() < ETHERNET + 40 || frame[12..14] != [8, 0] || frame[ETHERNET + 9] != 6 {
        return;
    }
    let header = usize::from(frame[ETHERNET] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([frame[ETHERNET + 2], frame[ETHERNET + 3]]));
    let (start, end) = (ETHERNET + header, (ETHERNET + total).min(frame.len()));
    if end < start + 20 {
        return;
    }
    frame[start + 16..start + 18].fill(0);
    let mut sum = 6 + (end - start) as u32;
    for part in [ETHERNET + 12..ETHERNET + 20, start..end] {
        for pair in frame[part].chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[start + 16..start + 18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
