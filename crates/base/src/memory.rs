//! Giving memory back that only the start or a burst needed. Most of a small daemon is its own code; pages
//! that ran once (options, keys, command lines) stay mapped for ever unless somebody lets go.

use std::fs;

use rustix::mm::{Advice, madvise};

/// Unmaps the code pages of this executable. They are clean copies of the file: what is still
/// needed comes back from the page cache at its next use, the rest does not. Costs a few hundred
/// microseconds; does nothing where `/proc` is not there.
pub fn release_code() {
    let (Ok(maps), Ok(exe)) =
        (fs::read_to_string("/proc/self/maps"), fs::read_link("/proc/self/exe"))
    else {
        return;
    };
    let exe = exe.to_string_lossy();
    for (start, length) in maps.lines().filter_map(|line| code_of(line, &exe)) {
        // Safety: the range is a mapping of this process that is executable and not writable and
        // private to a file, taken from the kernel's own list. Nobody can have changed such pages,
        // so dropping them loses nothing: the next access reads the same bytes from the file. No
        // Rust object lives in them. The mapping itself stays, so no address becomes invalid.
        #[allow(unsafe_code)]
        let released = unsafe {
            madvise(std::ptr::with_exposed_provenance_mut(start), length, Advice::LinuxDontNeed)
        };
        if let Err(error) = released {
            log::debug!("code pages are not given back: {error}");
        }
    }
}

/// Gives back to the system what was freed but is kept for later. The allocator of glibc does so by
/// itself only at the ends of its arenas, so that one small thing that lives on keeps all that a
/// burst took; musl's does always. Costs some milliseconds for each 100 MB.
pub fn release_heap() {
    // Safety: `malloc_trim` may be called at any time from any thread; it takes the locks of the
    // allocator itself and only touches memory that nobody has.
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// Resident memory of this process in KiB; `None` where `/proc` is not there.
#[must_use]
pub fn usage() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()? / 1024)
}

/// Start and length of a line of `/proc/self/maps` that maps code of `exe`.
fn code_of(line: &str, exe: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    if permissions != "r-xp" || fields.nth(3)? != exe {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) =
        (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_code_is_taken() {
        let line = |p: &str, path: &str| format!("1000-3000 {p} 00001000 08:01 12 {path}");
        assert_eq!(code_of(&line("r-xp", "/bin/x"), "/bin/x"), Some((0x1000, 0x2000)));
        for (permissions, path) in [("r--p", "/bin/x"), ("rw-p", "/bin/x"), ("r-xp", "/lib/c.so")] {
            assert_eq!(code_of(&line(permissions, path), "/bin/x"), None);
        }
        assert_eq!(code_of("garbage", "/bin/x"), None);
    }

    #[test]
    fn the_program_goes_on_afterwards() {
        release_code();
        release_heap();
        assert!(usage().unwrap() > 100);
        let sorted: Vec<_> = std::collections::BTreeSet::from([3, 1, 2]).into_iter().collect();
        assert_eq!(sorted, [1, 2, 3]);
    }
}
