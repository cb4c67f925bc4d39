//! Waiting times between tries: exponential, bounded, with full jitter.

use std::time::Duration;

/// Yields how long to wait before each next try.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    tries: u32,
}

impl Backoff {
    /// Starts at up to `base` and doubles up to `max`.
    #[must_use]
    pub fn new(base: Duration, max: Duration) -> Self {
        Backoff { base, max, tries: 0 }
    }

    /// The next wait. `random` is uniform in `0.0..1.0` and an argument so that time and chance
    /// can be simulated; at least a quarter of the bound is waited, so there is no busy loop.
    pub fn next(&mut self, random: f64) -> Duration {
        let bound = self.base.saturating_mul(1u32 << self.tries.min(20)).min(self.max);
        self.tries = self.tries.saturating_add(1);
        bound.mul_f64(0.25 + 0.75 * random.clamp(0.0, 1.0))
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_are_never_zero() {
        let mut b = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let highest: Vec<_> = (0..8).map(|_| b.next(1.0).as_secs()).collect();
        assert_eq!(highest, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(b.next(0.0) >= Duration::from_secs(7));
        b.reset();
        assert_eq!(b.next(1.0), Duration::from_secs(1));
    }
}
