//! How long answers take: smoothed, and the longest of late, from which patience is derived.

use std::time::{Duration, Instant};

/// What is remembered of the answers on one channel.
#[derive(Clone, Debug)]
pub(crate) struct Delays {
    smooth: Duration,
    /// Only deduced from how long the sign-in took.
    guessed: bool,
    /// The longest in this window of time and in the one before.
    peaks: [Duration; 2],
    turn: Instant,
}

impl Delays {
    /// After one to two of these a long delay is forgotten.
    const WINDOW: Duration = Duration::from_secs(90);
    /// Weight of what is known beside a new answer.
    const MEMORY: u32 = 7;

    pub(crate) fn new(guess: Duration, now: Instant) -> Self {
        Delays { smooth: guess, guessed: true, peaks: [Duration::ZERO; 2], turn: now }
    }

    /// An answer took so long.
    pub(crate) fn answered(&mut self, delay: Duration, now: Instant) {
        self.smooth = match self.guessed {
            true => delay,
            false => (self.smooth * Self::MEMORY + delay) / (Self::MEMORY + 1),
        };
        self.guessed = false;
        self.at_least(delay, now);
    }

    /// An answer would have taken at least so long; none came to measure.
    pub(crate) fn at_least(&mut self, delay: Duration, now: Instant) {
        if now >= self.turn + Self::WINDOW {
            self.peaks = [Duration::ZERO, self.peaks[0]];
            self.turn = now;
        }
        self.peaks[0] = self.peaks[0].max(delay);
    }

    pub(crate) fn smooth(&self) -> Duration {
        self.smooth
    }

    /// The smoothed delay, once there was an answer.
    pub(crate) fn measured(&self) -> Option<Duration> {
        (!self.guessed).then_some(self.smooth)
    }

    pub(crate) fn peak(&self) -> Duration {
        self.peaks[0].max(self.peaks[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_replaces_the_guess_and_peaks_are_forgotten() {
        let start = Instant::now();
        let mut delays = Delays::new(Duration::from_secs(1), start);
        assert_eq!(delays.measured(), None);
        delays.answered(Duration::from_millis(10), start);
        assert_eq!(delays.measured(), Some(Duration::from_millis(10)));
        delays.answered(Duration::from_millis(90), start);
        assert_eq!(delays.smooth(), Duration::from_millis(20));
        assert_eq!(delays.peak(), Duration::from_millis(90));
        for window in 1..=2u32 {
            delays.answered(Duration::from_millis(10), start + Delays::WINDOW * window);
        }
        assert_eq!(delays.peak(), Duration::from_millis(10));
    }
}
