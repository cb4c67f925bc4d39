//! Points in time as people write them for `start_time` and `end_time`: ISO dates, Salt's own
//! `2026, Jan 02 03:04:05.000678`, or seconds since 1970. All UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saltern_base::time::month_name;

/// Reads a point in time.
///
/// # Errors
/// A sentence with the forms that are understood.
pub(crate) fn parse(text: &str) -> Result<SystemTime, String> {
    let wrong = || {
        format!("{text:?} is no time; use 2026-01-02, 2026-01-02 03:04:05 or 2026, Jan 02 03:04:05")
    };
    if text.len() < 14 && text.parse::<u32>().is_ok_and(|n| n > 9999) {
        let seconds = text.parse().map_err(|_| wrong())?;
        return Ok(UNIX_EPOCH + Duration::from_secs(seconds));
    }
    read(text).ok_or_else(wrong)
}

fn read(text: &str) -> Option<SystemTime> {
    let text = text.trim().trim_end_matches('Z').replace([',', 'T'], " ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (date, rest) = match *words.as_slice() {
        [date, ref rest @ ..] if date.contains('-') => (iso_date(date)?, rest),
        [year, month, day, ref rest @ ..] => {
            ((year.parse().ok()?, month_number(month)?, day.parse().ok()?), rest)
        }
        _ => return None,
    };
    let seconds = match *rest {
        [] => 0.0,
        [clock] => clock_seconds(clock)?,
        _ => return None,
    };
    let days = u64::try_from(days_since_1970(date)?).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(days * 86_400) + Duration::from_secs_f64(seconds))
}

fn iso_date(text: &str) -> Option<(i64, i64, i64)> {
    let mut parts = text.split('-').map(|part| part.parse().ok());
    let date = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(date)
}

fn month_number(name: &str) -> Option<i64> {
    // The T of "Oct" was a separator to `read` only when upper case, so names arrive whole.
    (1..=12).find(|m| name.eq_ignore_ascii_case(month_name(*m))).map(i64::from)
}

fn clock_seconds(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match *parts.as_slice() {
        [h, m] => (h, m, "0"),
        [h, m, s] => (h, m, s),
        _ => return None,
    };
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds: f64 = seconds.parse().ok()?;
    let sane = hours < 24 && minutes < 60 && (0.0..61.0).contains(&seconds);
    sane.then(|| f64::from(hours * 3600 + minutes * 60) + seconds)
}

/// Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant's algorithm).
fn days_since_1970((year, month, day): (i64, i64, i64)) -> Option<i64> {
    if !((1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, yoe) = (year.div_euclid(400), year.rem_euclid(400));
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use saltern_base::time::stamp;

    #[test]
    fn the_forms_people_write() {
        let read = |text| stamp(parse(text).unwrap());
        assert_eq!(read("2026-01-02"), "2026-01-02T00:00:00.000000");
        assert_eq!(read("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000000");
        assert_eq!(read("2024, Feb 29 23:59:58.5"), "2024-02-29T23:59:58.500000");
        assert_eq!(read("2015, Mar 16 19:00"), "2015-03-16T19:00:00.000000");
        assert_eq!(read("2015, Oct 16 19:00"), "2015-10-16T19:00:00.000000");
        assert_eq!(read("1795361462"), "2026-11-22T15:31:02.000000");
    }

    #[test]
    fn other_texts_are_explained() {
        for bad in ["", "yesterday", "2026-13-01", "2026-01-02 25:00", "12"] {
            assert!(parse(bad).unwrap_err().contains("2026-01-02"), "{bad}");
        }
    }
}
