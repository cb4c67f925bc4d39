//! A wire to a master that can be cut in parts: each port and each direction on its own, for
//! connections that stand or for new ones too. Needs no rights, unlike a network namespace.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::{Address, Master};

/// How often a pump that may carry nothing looks whether it may again.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes of a piece that is no publication yet.
const HEARTBEAT: usize = 150;

/// A direction in which bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToMaster,
    ToMinion,
}

/// Stands for a master at an address of its own.
pub struct Proxy {
    pub address: Address,
    ports: [Arc<Port>; 2],
}

/// One of the two ports.
struct Port {
    number: u16,
    local: SocketAddr,
    target: SocketAddr,
    /// Nothing is carried, on any connection.
    blocked: [AtomicBool; 2],
    /// Connections made before this one (they count up) carry nothing.
    stuck_before: AtomicU64,
    made: AtomicU64,
    /// The last byte of each longer piece is another one.
    garbled: AtomicBool,
    open: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A wire to this master on both of its ports.
    pub fn new(master: &Master) -> Self {
        let address = Address::fresh();
        let ports = [4505, 4506].map(|number| {
            let port = Arc::new(Port {
                number,
                local: address.port(number),
                target: master.address.port(number),
                blocked: [AtomicBool::new(false), AtomicBool::new(false)],
                stuck_before: AtomicU64::new(0),
                made: AtomicU64::new(0),
                garbled: AtomicBool::new(false),
                open: AtomicBool::new(false),
                streams: Mutex::default(),
            });
            port.listen();
            port
        });
        Proxy { address, ports }
    }

    fn port(&self, number: u16) -> &Arc<Port> {
        self.ports.iter().find(|port| port.number == number).expect("4505 or 4506")
    }

    /// From now on nothing travels this way on this port; connections stay and new ones are taken.
    pub fn block(&self, number: u16, way: Way) {
        self.port(number).blocked[way as usize].store(true, Ordering::SeqCst);
    }

    /// Nothing travels on the connections that stand now; new ones are not touched.
    pub fn stick(&self, number: u16) {
        let port = self.port(number);
        port.stuck_before.store(port.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether what is longer than a heartbeat reaches the minion with another byte at its end.
    pub fn garble(&self, number: u16, garbled: bool) {
        self.port(number).garbled.store(garbled, Ordering::SeqCst);
    }

    /// Closes the port and its connections.
    pub fn close(&self, number: u16) {
        self.port(number).close();
    }

    /// How many connections were made so far.
    pub fn connections(&self, number: u16) -> u64 {
        self.port(number).made.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for port in &self.ports {
            port.close();
        }
    }
}

impl Port {
    fn listen(self: &Arc<Self>) {
        let listener = TcpListener::bind(self.local).expect("the address is ours");
        self.open.store(true, Ordering::SeqCst);
        let port = self.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if !port.open.load(Ordering::SeqCst) {
                    return;
                }
                let number = port.made.fetch_add(1, Ordering::SeqCst);
                if let Ok(target) = TcpStream::connect_timeout(&port.target, Duration::from_secs(5))
                {
                    port.carry(number, &stream, &target);
                }
            }
        });
    }

    fn close(&self) {
        if self.open.swap(false, Ordering::SeqCst) {
            // Wakes the listener, which then ends.
            drop(TcpStream::connect(self.local));
        }
        for stream in self.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn carry(self: &Arc<Self>, number: u64, near: &TcpStream, far: &TcpStream) {
        for stream in [near, far] {
            drop(stream.set_nodelay(true));
            self.streams.lock().unwrap().push(stream.try_clone().unwrap());
        }
        for (from, to, way) in [(near, far, Way::ToMaster), (far, near, Way::ToMinion)] {
            let (port, from, to) =
                (self.clone(), from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || port.pump(number, from, to, way));
        }
    }

    fn pump(&self, number: u64, mut from: TcpStream, mut to: TcpStream, way: Way) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count) = from.read(&mut buffer) {
            // The end of a connection is lost like everything else.
            while self.open.load(Ordering::SeqCst) && self.is_blocked(number, way) {
                thread::sleep(LOOK);
            }
            if way == Way::ToMinion && count > HEARTBEAT && self.garbled.load(Ordering::SeqCst) {
                buffer[count - 1] ^= 1;
            }
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    }

    fn is_blocked(&self, number: u64, way: Way) -> bool {
        self.blocked[way as usize].load(Ordering::SeqCst)
            || number < self.stuck_before.load(Ordering::SeqCst)
    }
}
