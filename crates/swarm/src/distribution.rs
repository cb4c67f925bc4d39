//! Numbers left to chance: constant, uniform, normal, exponential.

use std::fmt;
use std::str::FromStr;

/// How a number is drawn. Times are in seconds, sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Always this.
    Constant(f64),
    /// Anything between, equally likely.
    Uniform(f64, f64),
    /// Mean and standard deviation; never below zero.
    Normal(f64, f64),
    /// Mean.
    Exponential(f64),
}

impl Distribution {
    /// The next number, at least 0.
    pub fn draw(&self, rng: &mut fastrand::Rng) -> f64 {
        match *self {
            Distribution::Constant(value) => value,
            Distribution::Uniform(from, to) => from + (to - from) * rng.f64(),
            Distribution::Normal(mean, deviation) => {
                // Box and Muller.
                let (a, b) = (1.0 - rng.f64(), rng.f64());
                let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
                (mean + deviation * normal).max(0.0)
            }
            Distribution::Exponential(mean) => -mean * (1.0 - rng.f64()).ln(),
        }
    }
}

/// Why a text is no distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoDistribution(String);

impl fmt::Display for NoDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no distribution; use a number (500, 10ms, 2s, 4kB), uniform:A..B, \
             normal:MEAN..DEVIATION or exp:MEAN",
            self.0
        )
    }
}

impl std::error::Error for NoDistribution {}

impl FromStr for Distribution {
    type Err = NoDistribution;

    fn from_str(text: &str) -> Result<Self, NoDistribution> {
        let wrong = || NoDistribution(text.to_owned());
        let pair = |text: &str| {
            let (a, b) = text.split_once("..")?;
            Some((number(a)?, number(b)?))
        };
        let found = match text.split_once(':') {
            None => number(text).map(Distribution::Constant),
            Some(("uniform", range)) => {
                pair(range).filter(|(a, b)| a <= b).map(|(a, b)| Distribution::Uniform(a, b))
            }
            Some(("normal", range)) => pair(range).map(|(a, b)| Distribution::Normal(a, b)),
            Some(("exp", mean)) => number(mean).map(Distribution::Exponential),
            Some(_) => None,
        };
        found.ok_or_else(wrong)
    }
}

/// A number with a unit: of time (`us`, `ms`, `s`, `m`) in seconds, of size (`kB`, `KiB`, `MB`,
/// `MiB`) in bytes, or none.
fn number(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("us", 1e-6),
        ("ms", 1e-3),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("s", 1.0),
        ("m", 60.0),
    ];
    let text = text.trim();
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (digits, factor) = match unit {
        Some((unit, factor)) => (text.strip_suffix(unit)?, *factor),
        None => (text, 1.0),
    };
    let value: f64 = digits.trim().parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        assert_eq!("10ms".parse(), Ok(Distribution::Constant(0.01)));
        assert_eq!("500".parse(), Ok(Distribution::Constant(500.0)));
        assert_eq!("uniform:1ms..50ms".parse(), Ok(Distribution::Uniform(0.001, 0.05)));
        assert_eq!("normal:4kB..1kB".parse(), Ok(Distribution::Normal(4000.0, 1000.0)));
        assert_eq!("exp:20ms".parse(), Ok(Distribution::Exponential(0.02)));
        for wrong in ["", "-1", "often", "uniform:3..1", "uniform:1", "NaN", "gauss:1"] {
            assert!(wrong.parse::<Distribution>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn draws_are_where_they_should_be() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut mean = |text: &str| {
            let distribution: Distribution = text.parse().unwrap();
            (0..20_000).map(|_| distribution.draw(&mut rng)).sum::<f64>() / 20_000.0
        };
        assert!((mean("uniform:1..3") - 2.0).abs() < 0.05);
        assert!((mean("exp:5") - 5.0).abs() < 0.3);
        assert!((mean("normal:100..10") - 100.0).abs() < 1.0);
    }
}
