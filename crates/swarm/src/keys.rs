//! The key pairs of a swarm, made on all processors and kept for the next time.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use saltern_crypto::PrivateKey;

/// The keys of these numbers, in that order; those in `dir` are used again, new ones are put there.
/// `made` is told how many are ready, and says whether to go on; if not, some are missing.
///
/// # Errors
/// One sentence: the directory or a file in it cannot be used, or OpenSSL fails.
pub fn pool(
    numbers: &[usize],
    bits: u32,
    dir: Option<&Path>,
    threads: usize,
    made: impl Fn(usize) -> bool + Sync,
) -> Result<Vec<PrivateKey>, String> {
    if let Some(dir) = dir {
        fs::create_dir_all(dir).map_err(|e| format!("--key-dir {}: {e}", dir.display()))?;
    }
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let keys: Mutex<Vec<Option<PrivateKey>>> = Mutex::new(vec![None; numbers.len()]);
    let failed: Mutex<Option<String>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 64) {
            scope.spawn(|| {
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    let over = failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                    let Some(&number) = numbers.get(position).filter(|_| !over) else { return };
                    match one(number, bits, dir) {
                        Ok(key) => {
                            let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
                            if let Some(place) = keys.get_mut(position) {
                                *place = Some(key);
                            }
                        }
                        Err(error) => {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        }
                    }
                    if !made(done.fetch_add(1, Ordering::Relaxed) + 1) {
                        return;
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    Ok(keys.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect())
}

fn one(number: usize, bits: u32, dir: Option<&Path>) -> Result<PrivateKey, String> {
    let made = || PrivateKey::generate(bits).map_err(|e| format!("no key can be made: {e}"));
    let Some(dir) = dir else { return made() };
    let path = dir.join(format!("{bits}-{number:06}.pem"));
    let told = |error: &dyn std::fmt::Display| format!("--key-dir: {}: {error}", path.display());
    let read = |pem: Vec<u8>| PrivateKey::from_pem(&pem, None).map_err(|e| told(&e));
    match fs::read(&path) {
        Ok(pem) => read(pem),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = made()?;
            let pem = key.to_pem(None).map_err(|e| told(&e))?;
            // Several swarms may share the directory: the file appears whole, and once.
            let new = dir.join(format!(".{bits}-{number:06}.{}", std::process::id()));
            let mut options = fs::File::options();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
            let written = file.and_then(|mut file| file.write_all(&pem));
            let linked = written.and_then(|()| fs::hard_link(&new, &path));
            let removed = fs::remove_file(&new);
            match linked {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    fs::read(&path).map_err(|e| told(&e)).and_then(read)
                }
                Err(error) => Err(told(&error)),
                Ok(()) => removed.map(|()| key).map_err(|e| told(&e)),
            }
        }
        Err(error) => Err(told(&error)),
    }
}
