//! Waiting for something to become true, with a deadline. The only place of this bench that
//! sleeps: between two looks at a thing of another process that sends no event.

use std::time::{Duration, Instant};

/// How long anything may take on a slow, busy machine before it counts as failed.
pub const LONG: Duration = Duration::from_secs(120);

/// Asks `probe` until it returns something; panics naming `what` after [`LONG`].
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(LONG, what, probe)
}

/// Asks `probe` until it returns something; panics naming `what` after `limit`.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Between two looks of a loop that is not one of the above.
pub fn pause() {
    std::thread::sleep(Duration::from_secs(1));
}
