//! Calendar conditions of scheduled jobs, in local time: `cron`, `when`, `once`, `range`, `after`,
//! `until`. Pure.

use saltern_base::time::Civil;

/// A moment of a day, in seconds since midnight.
pub(crate) type Moment = u32;

const DAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

fn moment(at: &Civil) -> Moment {
    at.hour * 3600 + at.minute * 60 + at.second
}

/// Five cron fields, each a set of numbers as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Days of the month and of the week both say something: either may hold, as in cron(5).
    either_day: bool,
}

impl Cron {
    /// Reads `minute hour day month weekday`, or one of `@hourly`, `@daily`, ...
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("'{text}' has not the five fields of a cron line"));
        };
        let mut weekdays = set(weekday, 0, 7, &DAYS)?;
        // Sunday is 0 and 7.
        weekdays |= weekdays >> 7 & 1;
        Ok(Cron {
            minutes: set(minute, 0, 59, &[])?,
            hours: set(hour, 0, 23, &[])?,
            days: set(day, 1, 31, &[])?,
            months: set(month, 1, 12, &MONTHS)?,
            weekdays,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }

    fn matches_minute(&self, at: &Civil) -> bool {
        let has = |bits: u64, n: u32| bits >> n & 1 == 1;
        let (day, weekday) = (has(self.days, at.day), has(self.weekdays, at.weekday));
        let right_day = if self.either_day { day || weekday } else { day && weekday };
        has(self.minutes, at.minute)
            && has(self.hours, at.hour)
            && has(self.months, at.month)
            && right_day
    }
}

/// One field: `*`, `5`, `1-5`, `*/10`, `10-30/5`, names, and lists of these.
fn set(field: &str, low: u32, high: u32, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for part in field.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, number(step, 1, high, &[])?),
            None => (part, 1),
        };
        let (from, to) = match (span, span.split_once('-')) {
            ("*", _) => (low, high),
            (_, Some((from, to))) => {
                (number(from, low, high, names)?, number(to, low, high, names)?)
            }
            (one, None) => {
                let one = number(one, low, high, names)?;
                // `5/15` means from 5 on.
                (one, if part.contains('/') { high } else { one })
            }
        };
        if from > to {
            return Err(format!("'{part}' goes backwards"));
        }
        for n in (from..=to).step_by(step as usize) {
            bits |= 1 << n;
        }
    }
    Ok(bits)
}

fn number(text: &str, low: u32, high: u32, names: &[&str]) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if lower.len() >= 3
        && let Some(at) = names.iter().position(|name| name.starts_with(lower.as_str()))
    {
        return Ok(low + at as u32);
    }
    match lower.parse() {
        Ok(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(format!("'{text}' is no number from {low} to {high}")),
    }
}

/// `when`: a time of day, on every day, on one weekday, or on one date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When {
    date: Option<(i64, u32, u32)>,
    weekday: Option<u32>,
    time: Moment,
}

impl When {
    /// Reads `5:00pm`, `17:00`, `Monday 5pm`, `2026-11-23 17:00:30`, `11/23/2026 5:00pm`, or the
    /// same with a `T` in between.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "'{text}' is no time that is understood here: write 5:00pm, Monday 17:00 or \
                 2026-11-23T17:00:00"
            )
        };
        let (mut date, mut weekday, mut time) = (None, None, None);
        let spaced = match text.split_once('T') {
            Some((left, right)) if left.ends_with(|c: char| c.is_ascii_digit()) => {
                format!("{left} {right}")
            }
            _ => text.to_owned(),
        };
        for word in spaced.split_whitespace() {
            let lower = word.to_ascii_lowercase();
            if let Some(found) = day_of_week(&lower) {
                weekday = Some(found);
            } else if let (Some(half), Some(at)) = (meridian(&lower), time) {
                // `5:00 pm`: in two words.
                time = Some(apply(at, half).ok_or_else(unknown)?);
            } else if let Some(found) = day_of_calendar(&lower) {
                date = Some(found);
            } else {
                time = Some(time_of_day(&lower).ok_or_else(unknown)?);
            }
        }
        if date.is_none() && weekday.is_none() && time.is_none() {
            return Err(unknown());
        }
        Ok(When { date, weekday, time: time.unwrap_or(0) })
    }

    fn matches_day(&self, at: &Civil) -> bool {
        self.date.is_none_or(|date| date == (at.year, at.month, at.day))
            && self.weekday.is_none_or(|day| day == at.weekday)
    }
}

fn day_of_week(word: &str) -> Option<u32> {
    let found = DAYS.iter().position(|d| word.len() >= 3 && d.starts_with(word))?;
    Some(found as u32)
}

fn day_of_calendar(word: &str) -> Option<(i64, u32, u32)> {
    let numbers = |sep: char| -> Option<Vec<i64>> {
        let parts: Option<Vec<i64>> = word.split(sep).map(|p| p.parse().ok()).collect();
        parts.filter(|p| p.len() == 3)
    };
    let (year, month, day) = match (numbers('-'), numbers('/')) {
        (Some(p), _) => (p[0], p[1], p[2]),
        (_, Some(p)) => (p[2], p[0], p[1]),
        _ => return None,
    };
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && year >= 1970;
    fits.then_some((year, month as u32, day as u32))
}

fn meridian(word: &str) -> Option<bool> {
    match word {
        "am" => Some(false),
        "pm" => Some(true),
        _ => None,
    }
}

fn apply(time: Moment, afternoon: bool) -> Option<Moment> {
    let (hour, rest) = (time / 3600, time % 3600);
    let hour = match (hour, afternoon) {
        (12, false) => 0,
        (1..=11, true) => hour + 12,
        (1..=12, _) => hour,
        _ => return None,
    };
    Some(hour * 3600 + rest)
}

/// `17:00`, `17:00:30`, `5:00pm`, `5pm`.
pub(crate) fn time_of_day(word: &str) -> Option<Moment> {
    let lower = word.trim().to_ascii_lowercase();
    let (digits, half) = match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(rest), _) => (rest.trim_end(), Some(false)),
        (_, Some(rest)) => (rest.trim_end(), Some(true)),
        _ => (lower.as_str(), None),
    };
    let parts: Option<Vec<u32>> = digits.split(':').map(|p| p.parse().ok()).collect();
    let parts = parts?;
    let (hour, minute, second) = match parts.as_slice() {
        [h] if half.is_some() => (*h, 0, 0),
        [h, m] => (*h, *m, 0),
        [h, m, s] => (*h, *m, *s),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let time = hour * 3600 + minute * 60 + second;
    half.map_or(Some(time), |afternoon| apply(time, afternoon))
}

/// One condition for a job to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Calendar {
    /// `cron`.
    Cron(Cron),
    /// `when`; any of them.
    When(Vec<When>),
    /// `once`.
    Once(When),
}

impl Calendar {
    /// Whether a job starts in this very second.
    pub(crate) fn fires(&self, at: &Civil) -> bool {
        match self {
            Calendar::Cron(cron) => at.second == 0 && cron.matches_minute(at),
            Calendar::When(list) => {
                list.iter().any(|when| when.matches_day(at) && when.time == moment(at))
            }
            Calendar::Once(when) => when.matches_day(at) && when.time == moment(at),
        }
    }

    /// Whether a job starts in this minute.
    pub(crate) fn fires_in_minute(&self, at: &Civil) -> bool {
        let near = |when: &When| when.matches_day(at) && when.time / 60 == moment(at) / 60;
        match self {
            Calendar::Cron(cron) => cron.matches_minute(at),
            Calendar::When(list) => list.iter().any(near),
            Calendar::Once(when) => near(when),
        }
    }

    /// Whether it can only start at full minutes.
    pub(crate) fn by_minutes(&self) -> bool {
        matches!(self, Calendar::Cron(_))
    }
}

/// `range`: times of day between which a job runs, or (`invert`) does not. It may span midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// First second.
    pub(crate) start: Moment,
    /// Last second.
    pub(crate) end: Moment,
    /// The times outside.
    pub(crate) invert: bool,
}

impl Range {
    pub(crate) fn allows(&self, at: &Civil) -> bool {
        let now = moment(at);
        let within = if self.start <= self.end {
            (self.start..=self.end).contains(&now)
        } else {
            now >= self.start || now <= self.end
        };
        within != self.invert
    }
}

/// A date and time as one number that grows with time, to compare with `after` and `until`.
pub(crate) fn rank(at: &Civil) -> (i64, u32, u32, Moment) {
    (at.year, at.month, at.day, moment(at))
}

/// Reads `after` and `until`.
pub(crate) fn parse_rank(text: &str) -> Result<(i64, u32, u32, Moment), String> {
    let when = When::parse(text)?;
    let (year, month, day) =
        when.date.ok_or_else(|| format!("'{text}' names no date: write 2026-11-23T17:00:00"))?;
    Ok((year, month, day, when.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sunday, 2026-11-22.
    fn at(hour: u32, minute: u32, second: u32) -> Civil {
        Civil { year: 2026, month: 11, day: 22, hour, minute, second, micro: 0, weekday: 0 }
    }

    #[test]
    fn cron_lines() {
        let fires = |line: &str, t: Civil| Calendar::Cron(Cron::parse(line).unwrap()).fires(&t);
        assert!(fires("*/15 * * * *", at(7, 45, 0)));
        assert!(!fires("*/15 * * * *", at(7, 45, 1)));
        assert!(fires("0 0 * * 7", at(0, 0, 0)) && fires("0 0 * * sun", at(0, 0, 0)));
        assert!(fires("0 0 1 * sun", at(0, 0, 0)), "either day suffices");
        assert!(!fires("0 0 1 * *", at(0, 0, 0)));
        assert!(fires("5,10-20/5 8-18 * nov *", at(9, 15, 0)));
        assert!(fires("@hourly", at(9, 0, 0)));
        for bad in ["* * * *", "60 * * * *", "5-1 * * * *", "a * * * *", "*/0 * * * *", ""] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_and_days() {
        let fires = |text: &str, t: Civil| Calendar::Once(When::parse(text).unwrap()).fires(&t);
        assert!(fires("5:00pm", at(17, 0, 0)) && fires("5:00 pm", at(17, 0, 0)));
        assert!(fires("12:30am", at(0, 30, 0)) && fires("12pm", at(12, 0, 0)));
        assert!(fires("Sunday 17:00", at(17, 0, 0)) && !fires("Monday 17:00", at(17, 0, 0)));
        assert!(fires("2026-11-22T17:00:30", at(17, 0, 30)));
        assert!(fires("11/22/2026 5:00pm", at(17, 0, 0)) && !fires("11/23/2026 5pm", at(17, 0, 0)));
        for bad in ["", "soon", "25:00", "13:00pm", "2026-13-01 5pm"] {
            assert!(When::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_may_span_midnight_or_be_turned_around() {
        let night = Range { start: 22 * 3600, end: 6 * 3600, invert: false };
        assert!(night.allows(&at(23, 0, 0)) && night.allows(&at(5, 0, 0)));
        assert!(!night.allows(&at(12, 0, 0)));
        assert!(Range { invert: true, ..night }.allows(&at(12, 0, 0)));
        assert!(rank(&at(1, 0, 0)) < parse_rank("2026-11-22T01:00:01").unwrap());
        assert!(parse_rank("5pm").is_err());
    }
}
