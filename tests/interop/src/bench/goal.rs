//! What a figure has to reach, and whether it does.

use super::proc;
use super::table::median;
use super::trial::Trial;

/// What is to be reached, always by the median of the trials.
#[derive(Clone, Debug)]
pub enum Goal {
    /// Everything that was wanted was done, in every trial.
    All,
    /// Seconds at most.
    Seconds(f64),
    /// Seconds at most so much of real Salt's for the same work.
    SecondsOfSalt(f64),
    /// CPU at most so much of real Salt's for the same work, at the largest size it bore.
    CpuOfSalt(f64),
    /// CPU for each of what was done at most so many times a bare cost in seconds.
    CpuOfFloor { times: f64, floor: f64, name: &'static str },
    /// MiB of PSS at most.
    Memory(f64),
    /// PSS at most so much of real Salt's.
    MemoryOfSalt(f64),
    /// A further number at most so much, in every trial.
    More(&'static str, f64),
}

/// Whether a goal is met; `None` where there is nothing to compare with.
pub struct Verdict {
    pub goal: String,
    pub found: String,
    pub met: Option<bool>,
}

impl Goal {
    /// Judges `ours`; `salts` holds for each real Salt the trials of the size to compare with.
    pub fn judge(&self, ours: &[Trial], salts: &[&[Trial]]) -> Verdict {
        let most = |goal: String, found: Option<f64>, limit: f64, unit: &str| Verdict {
            goal,
            found: found.map_or("no figure".to_owned(), |f| format!("{}{unit}", number(f))),
            met: Some(found.is_some_and(|f| f <= limit)),
        };
        match self {
            Goal::All => Verdict {
                goal: "all".to_owned(),
                found: String::new(),
                met: Some(!ours.is_empty() && ours.iter().all(Trial::complete)),
            },
            Goal::Seconds(limit) => {
                most(format!("{} s", number(*limit)), of(ours, |t| t.seconds), *limit, " s")
            }
            Goal::Memory(limit) => most(format!("{limit} MiB"), of(ours, memory), *limit, " MiB"),
            Goal::More(name, limit) => {
                let values = ours.iter().filter_map(|t| t.more.get(name)).copied();
                most(format!("{name} {limit}"), values.reduce(f64::max), *limit, "")
            }
            Goal::CpuOfFloor { times, floor, name } => {
                let found = of(ours, |t| t.cpu_per(1.0)).map(|cpu| cpu / floor);
                most(format!("{times} x {name}"), found, *times, " x")
            }
            Goal::SecondsOfSalt(part) => ratio("seconds", *part, ours, salts, Trial::seconds_each),
            Goal::CpuOfSalt(part) => ratio("CPU", *part, ours, salts, |t| t.cpu_per(1.0)),
            Goal::MemoryOfSalt(part) => ratio("memory", *part, ours, salts, memory),
        }
    }
}

fn ratio(
    what: &str,
    part: f64,
    ours: &[Trial],
    salts: &[&[Trial]],
    value: fn(&Trial) -> Option<f64>,
) -> Verdict {
    let ours = of(ours, value);
    // The better one of several Salts is the one to beat.
    let least = salts.iter().filter_map(|trials| of(trials, value)).fold(f64::INFINITY, f64::min);
    let goal = format!("{what} 1/{} of Salt", number(1.0 / part));
    match ours {
        _ if least.is_infinite() => Verdict { goal, found: String::new(), met: None },
        None => Verdict { goal, found: "no figure".to_owned(), met: Some(false) },
        Some(ours) => Verdict {
            goal,
            found: format!("1/{}", number(least / ours)),
            met: Some(ours <= least * part),
        },
    }
}

fn memory(trial: &Trial) -> Option<f64> {
    trial.memory.map(proc::Memory::counted)
}

/// The median of a figure over the trials that have it.
pub fn of(trials: &[Trial], value: impl Fn(&Trial) -> Option<f64>) -> Option<f64> {
    median(&trials.iter().filter_map(value).collect::<Vec<_>>())
}

/// Three significant digits, as far as they say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        size if value == value.trunc() && size < 1e15 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.3}"),
        _ => format!("{value:.6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(cpu: f64, done: f64) -> Vec<Trial> {
        let trial = |cpu| Trial { cpu: Some(cpu), done, wanted: done, ..Trial::default() };
        vec![trial(cpu), trial(cpu * 0.9), trial(cpu * 100.0)]
    }

    #[test]
    fn the_same_work_is_compared_by_the_median() {
        let (ours, theirs) = (trials(1.0, 1000.0), trials(2.0, 100.0));
        let verdict = Goal::CpuOfSalt(0.05).judge(&ours, &[&theirs]);
        assert_eq!((verdict.found.as_str(), verdict.met), ("1/20", Some(true)));
        assert_eq!(Goal::CpuOfSalt(0.04).judge(&ours, &[&theirs]).met, Some(false));
    }

    #[test]
    fn the_better_salt_is_the_one_to_beat_and_none_says_nothing() {
        let (ours, good, bad) = (trials(1.0, 1.0), trials(2.0, 1.0), trials(9.0, 1.0));
        assert_eq!(Goal::CpuOfSalt(0.25).judge(&ours, &[&bad, &good]).met, Some(false));
        assert_eq!(Goal::CpuOfSalt(0.25).judge(&ours, &[]).met, None);
        assert_eq!(Goal::CpuOfSalt(0.25).judge(&[], &[&good]).met, Some(false));
    }

    #[test]
    fn one_trial_that_lost_something_fails_the_goal() {
        let mut ours = trials(1.0, 5.0);
        assert_eq!(Goal::All.judge(&ours, &[]).met, Some(true));
        ours[1].done = 4.0;
        assert_eq!(Goal::All.judge(&ours, &[]).met, Some(false));
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 12.0, 0.000_25, 0.0123, 1.234, 12.34, 1234.5, f64::NAN].map(number);
        assert_eq!(shown, ["0", "12", "0.000250", "0.012", "1.23", "12.3", "1234", "-"]);
    }
}
