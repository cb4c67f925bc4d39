//! What cannot be beaten on this machine: the crypto library alone, the kernel's sockets alone,
//! the disk alone. The figures of the others are to be read beside these.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho::RUSAGE_SELF;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::symm::{Cipher, Crypter, Mode};

use super::{Bench, Plan, Trial, proc};
use crate::Peer;

pub const BENCH: Bench = Bench {
    name: "floors",
    about: "the crypto library, the sockets and the disk of this machine alone",
    sizes: &[1],
    quick: &[1],
    per: (1000.0, "operations"),
    trials: (3, 1),
    measure,
    goals: |_, _| vec![],
};

/// How long each is repeated.
const WHILE: Duration = Duration::from_millis(1000);
/// What a publication of `test.ping` comes to on the wire.
const PUBLICATION: usize = 600;
/// An event of the bench `events` with its frame.
const EVENT: usize = 380;
const PAGE: usize = 4096;

fn measure(_: Peer, _: usize, _: &Plan) -> Vec<(&'static str, Trial)> {
    let key = key();
    let step = || sign(&key);
    vec![
        ("RSA 2048 private operation, one core", repeated(step)),
        ("RSA 2048 private operation, all cores", all_cores(&key)),
        ("AES-192-CBC and HMAC-SHA256 of 1 MiB", sealing()),
        ("write and fdatasync of 4 KiB", syncs()),
        ("380 B through a unix socket", unix_socket()),
        ("600 B to each of 1,000 TCP sockets", fan_out(1000)),
        ("600 B to each of 10,000 TCP sockets", fan_out(10_000)),
    ]
}

/// CPU seconds of one private operation with RSA 2048, of the library alone.
pub fn rsa_private_seconds() -> f64 {
    static ONCE: OnceLock<f64> = OnceLock::new();
    *ONCE.get_or_init(|| {
        let key = key();
        repeated(|| sign(&key)).cpu_per(1.0).unwrap_or(f64::NAN)
    })
}

/// CPU seconds of encrypting and authenticating a MiB in pieces of the size in which files travel.
pub fn seal_mib_seconds() -> f64 {
    static ONCE: OnceLock<f64> = OnceLock::new();
    *ONCE.get_or_init(|| sealing().cpu_per(1.0).unwrap_or(f64::NAN))
}

fn key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn sign(key: &PKey<Private>) {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    black_box(signer.sign_oneshot_to_vec(black_box(b"token")).unwrap());
}

/// Repeats something for a while, in this thread.
fn repeated(mut step: impl FnMut()) -> Trial {
    // What is done once is done: tables, caches.
    step();
    let (cpu, begun) = (proc::own_cpu(RUSAGE_SELF), Instant::now());
    let mut count = 0.0;
    while begun.elapsed() < WHILE {
        step();
        count += 1.0;
    }
    rated(count, begun.elapsed().as_secs_f64(), proc::own_cpu(RUSAGE_SELF) - cpu)
}

fn rated(count: f64, seconds: f64, cpu: f64) -> Trial {
    let trial = Trial {
        seconds: Some(seconds),
        cpu: Some(cpu),
        done: count,
        wanted: count,
        load: proc::load(),
        ..Trial::default()
    };
    trial.with("a second", count / seconds).with("microseconds each", seconds / count * 1e6)
}

fn all_cores(key: &PKey<Private>) -> Trial {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (cpu, begun) = (proc::own_cpu(RUSAGE_SELF), Instant::now());
    let count = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| repeated(|| sign(key)).done)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    rated(count, begun.elapsed().as_secs_f64(), proc::own_cpu(RUSAGE_SELF) - cpu)
}

/// A MiB in one piece, which is how files travel (the master's `file_buffer_size`).
fn sealing() -> Trial {
    const PIECE: usize = 1 << 20;
    let (cipher, plain) = (Cipher::aes_192_cbc(), vec![7; PIECE]);
    let mac = PKey::hmac(&[1; 32]).unwrap();
    let mut sealed = vec![0; PIECE + 32];
    repeated(|| {
        let mut crypter = Crypter::new(cipher, Mode::Encrypt, &[2; 24], Some(&[3; 16])).unwrap();
        let mut length = crypter.update(&plain, &mut sealed).unwrap();
        length += crypter.finalize(&mut sealed[length..]).unwrap();
        let mut signer = Signer::new(MessageDigest::sha256(), &mac).unwrap();
        signer.update(&sealed[..length]).unwrap();
        black_box(signer.sign_to_vec().unwrap());
    })
}

/// In the directory in which the masters of the bench have their job cache.
fn syncs() -> Trial {
    let path = std::env::temp_dir().join(format!("si-sync-{}", std::process::id()));
    let mut file = File::create(&path).unwrap();
    let trial = repeated(|| {
        file.write_all(&[5; PAGE]).unwrap();
        file.sync_data().unwrap();
    });
    std::fs::remove_file(path).unwrap();
    trial
}

/// The CPU is that of both ends.
fn unix_socket() -> Trial {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 18];
        while there.read(&mut buffer).is_ok_and(|length| length > 0) {}
    });
    let trial = repeated(|| here.write_all(&[6; EVENT]).unwrap());
    drop(here);
    reader.join().unwrap();
    trial
}

/// Writes the same bytes to many connections, some rounds; a process of its own reads them. The
/// CPU is that of the writing end.
fn fan_out(sockets: usize) -> Trial {
    const ROUNDS: usize = 10;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limit = open_files();
    if sockets + 100 > limit {
        return Trial::failed(format!("not run: a process may open {limit} files here"));
    }
    let mut reader = Reader::start(&address, sockets, ROUNDS);
    let mut streams: Vec<TcpStream> = (0..sockets).map(|_| listener.accept().unwrap().0).collect();
    streams.iter().for_each(|stream| stream.set_nodelay(true).unwrap());
    let (cpu, begun) = (proc::own_cpu(RUSAGE_SELF), Instant::now());
    for _ in 0..ROUNDS {
        for stream in &mut streams {
            stream.write_all(&[8; PUBLICATION]).unwrap();
        }
    }
    let cpu = proc::own_cpu(RUSAGE_SELF) - cpu;
    // Done is what has arrived.
    assert!(reader.0.wait().unwrap().success());
    rated((sockets * ROUNDS) as f64, begun.elapsed().as_secs_f64(), cpu)
}

struct Reader(Child);

impl Reader {
    fn start(address: &str, sockets: usize, rounds: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["floor-reader", address, &sockets.to_string(), &rounds.to_string()]);
        Reader(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other end of the fan-out: `floor-reader ADDRESS SOCKETS ROUNDS`.
pub fn reader(words: &[String]) {
    let [address, sockets, rounds] = words else { panic!("three words are meant") };
    open_files();
    let (sockets, rounds): (usize, usize) = (sockets.parse().unwrap(), rounds.parse().unwrap());
    let mut streams: Vec<TcpStream> =
        (0..sockets).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut buffer = [0; PUBLICATION];
    for _ in 0..rounds {
        for stream in &mut streams {
            stream.read_exact(&mut buffer).unwrap();
        }
    }
}

/// Raises the limit of open files as far as it goes.
fn open_files() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    usize::try_from(hard).unwrap_or(usize::MAX)
}
