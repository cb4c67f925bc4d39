//! Numbers left to chance: constant, uniform, normal, exponential.

use std::time::Duration;

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

/// What a number is of, with its units.
struct Measure {
    units: &'static [(&'static str, f64)],
    /// What the largest may be, and how that is said.
    most: (f64, &'static str),
    examples: &'static str,
}

const TIME: Measure = Measure {
    units: &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)],
    most: (1e9, "1000000000 s"),
    examples: "0.5, 10ms, 2s or 5m",
};

const SIZE: Measure = Measure {
    units: &[("KiB", 1024.0), ("MiB", 1_048_576.0), ("kB", 1e3), ("MB", 1e6), ("B", 1.0)],
    most: (1e9, "1000 MB"),
    examples: "500, 4kB or 1MiB",
};

/// A time as options have it: a number of seconds, or one with a unit (`10ms`, `2s`, `5m`, `1h`).
///
/// # Errors
/// One sentence: it is none.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = number(text, &TIME)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("'{text}': {error}"))
}

impl Distribution {
    /// Reads one of times.
    ///
    /// # Errors
    /// One sentence: what it should be.
    pub fn of_times(text: &str) -> Result<Self, String> {
        read(text, &TIME)
    }

    /// Reads one of sizes.
    ///
    /// # Errors
    /// One sentence: what it should be.
    pub fn of_sizes(text: &str) -> Result<Self, String> {
        read(text, &SIZE)
    }
}

fn read(text: &str, measure: &Measure) -> Result<Distribution, String> {
    let Some((kind, rest)) = text.split_once(':') else {
        return number(text, measure).map(Distribution::Constant).map_err(|error| {
            format!("{error}; or uniform:A..B, normal:MEAN..DEVIATION, exp:MEAN")
        });
    };
    let pair = |what: &str| {
        let (a, b) = rest.split_once("..").ok_or_else(|| format!("it has to be {kind}:{what}"))?;
        Ok::<_, String>((number(a, measure)?, number(b, measure)?))
    };
    match kind {
        "uniform" => match pair("A..B")? {
            (a, b) if a <= b => Ok(Distribution::Uniform(a, b)),
            _ => Err("uniform:A..B goes from the smaller one to the larger one".to_owned()),
        },
        "normal" => pair("MEAN..DEVIATION").map(|(a, b)| Distribution::Normal(a, b)),
        "exp" => number(rest, measure).map(Distribution::Exponential),
        _ => Err(format!(
            "there is no distribution '{kind}'; use a number ({}), uniform:A..B, \
             normal:MEAN..DEVIATION or exp:MEAN",
            measure.examples
        )),
    }
}

/// A number with a unit, or without: seconds, bytes.
fn number(text: &str, measure: &Measure) -> Result<f64, String> {
    let text = text.trim();
    let unit = measure.units.iter().find(|(unit, _)| text.ends_with(unit));
    let (digits, factor) = match unit {
        Some((unit, factor)) => (text.strip_suffix(unit).unwrap_or(text), *factor),
        None => (text, 1.0),
    };
    let value = digits.trim().parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
    let value = value.map(|value| value * factor);
    let value =
        value.ok_or_else(|| format!("'{text}' is not a number like {}", measure.examples))?;
    let (most, told) = measure.most;
    (value <= most).then_some(value).ok_or_else(|| format!("'{text}' is more than {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let time = |text| Distribution::of_times(text).ok();
        let size = |text| Distribution::of_sizes(text).ok();
        assert_eq!(time("10ms"), Some(Distribution::Constant(0.01)));
        assert_eq!(time("uniform:1ms..50ms"), Some(Distribution::Uniform(0.001, 0.05)));
        assert_eq!(time("exp:20ms"), Some(Distribution::Exponential(0.02)));
        assert_eq!(size("500"), Some(Distribution::Constant(500.0)));
        assert_eq!(size("normal:4kB..1kB"), Some(Distribution::Normal(4000.0, 1000.0)));
        assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "-1", "often", "uniform:3..1", "uniform:1", "NaN", "gauss:1", "4kB"] {
            assert!(Distribution::of_times(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "-1", "10ms", "5GB", "uniform:1kB..1s", "1e12"] {
            assert!(Distribution::of_sizes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn draws_are_where_they_should_be() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut mean = |text: &str| {
            let distribution = Distribution::of_sizes(text).unwrap();
            (0..20_000).map(|_| distribution.draw(&mut rng)).sum::<f64>() / 20_000.0
        };
        assert!((mean("uniform:1..3") - 2.0).abs() < 0.05);
        assert!((mean("exp:5") - 5.0).abs() < 0.3);
        assert!((mean("normal:100..10") - 100.0).abs() < 1.0);
    }
}
