//! Giving memory back that only the start or a burst needed. Most of a small daemon is its own code; pages
//! that ran once (options, keys, command lines) stay mapped for ever unless somebody lets go.

use std::fs;

use rustix::mm::{Advice, madvise};

/// Unmaps the code and the constants of this executable and its libraries. They are clean copies
/// of the files: what is still needed comes back from the page cache at its next use, the rest does
/// not. Costs a few hundred microseconds; does nothing where `/proc` is not there.
pub fn release_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for (start, length) in maps.lines().filter_map(clean) {
        // Safety: the range is a mapping of this process that is not writable, was not when the
        // linker relocated addresses (`clean`), and is private to a file, taken from the kernel's
        // own list. Nobody can have changed such pages, so dropping them loses nothing: the next
        // access reads the same bytes from the file. The mapping itself stays, so no address
        // becomes invalid.
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

/// Sets the allocator up for a daemon that calls [`release_heap`] itself; to be called before there
/// are threads. Does nothing with other allocators than that of glibc, whose defaults suit neither:
///
/// - It has up to eight heaps for each core, one for each thread. A burst then goes through one after
///   the other, and each keeps pages on which some small thing lives on: a fleet's master held four
///   times what it used. Here all threads share `heaps`.
/// - It gives the end of a heap back with every large buffer that is freed, and the next one costs
///   as many page faults as it has pages. Here up to 32 MiB wait for [`release_heap`]; what is larger
///   than 4 MiB goes back at once.
#[cfg_attr(not(target_env = "gnu"), allow(unused_variables))]
pub fn prepare_heap(heaps: u8) {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (nix::libc::M_ARENA_MAX, i32::from(heaps)),
        (nix::libc::M_TRIM_THRESHOLD, 32 << 20),
        (nix::libc::M_MMAP_THRESHOLD, 4 << 20),
    ] {
        // Safety: `mallopt` sets a number of the allocator, which takes its own lock for that; one
        // that it does not take stays as it is.
        #[allow(unsafe_code)]
        unsafe {
            nix::libc::mallopt(parameter, value);
        }
    }
}

/// Resident memory of this process in KiB; `None` where `/proc` is not there.
#[must_use]
pub fn usage() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()? / 1024)
}

/// Proportional set size of this process in KiB, what it shares counted in parts; `None` where
/// `/proc` does not tell. Takes milliseconds for each 100 MB.
#[must_use]
pub fn proportional() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Start and length of a line of `/proc/self/maps` that maps code of a file, or its constants: the
/// read-only part that begins where the file does. Another read-only part is one that addresses
/// were written to at the start (RELRO), which must stay.
fn clean(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let constants = || permissions == "r--p" && offset.bytes().all(|digit| digit == b'0');
    if !(permissions == "r-xp" || constants()) || !fields.nth(2)?.starts_with('/') {
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
    fn only_what_nobody_wrote_to_is_taken() {
        let line = |p: &str, path: &str| format!("1000-3000 {p} 00001000 08:01 12 {path}");
        assert_eq!(clean(&line("r-xp", "/bin/x")), Some((0x1000, 0x2000)));
        let first = "1000-3000 r--p 00000000 08:01 12 /lib/c.so";
        assert_eq!(clean(first), Some((0x1000, 0x2000)));
        for (permissions, path) in [("r--p", "/bin/x"), ("rw-p", "/bin/x"), ("r-xp", "[vdso]")] {
            assert_eq!(clean(&line(permissions, path)), None);
        }
        assert_eq!(clean("1000-3000 r-xp 00000000 00:00 0"), None);
        assert_eq!(clean("garbage"), None);
    }

    #[test]
    fn the_program_goes_on_afterwards() {
        release_code();
        release_heap();
        assert!(usage().unwrap() > 100);
        assert!((100..=usage().unwrap() + 10_000).contains(&proportional().unwrap()));
        let sorted: Vec<_> = std::collections::BTreeSet::from([3, 1, 2]).into_iter().collect();
        assert_eq!(sorted, [1, 2, 3]);
    }
}
