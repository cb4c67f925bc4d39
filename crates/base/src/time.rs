//! Calendar time in UTC, in the forms Salt prints. The clock is the caller's: a time is always an
//! argument here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, taken apart (UTC, Gregorian).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, four digits in practice.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 to 999,999.
    pub micro: u32,
    /// Days since Sunday, 0 to 6.
    pub weekday: u32,
}

/// Takes a time apart. Times before 1970 count as 1970.
#[must_use]
pub fn civil(time: SystemTime) -> Civil {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs() as i64;
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
    // Days to year, month and day with years that begin in March (Howard Hinnant's algorithm).
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let doe = shifted.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    Civil {
        year: yoe + era * 400 + i64::from(month <= 2),
        month,
        day: (doy - (153 * mp + 2) / 5 + 1) as u32,
        hour: rest / 3600,
        minute: rest % 3600 / 60,
        second: rest % 60,
        micro: since.subsec_micros(),
        weekday: (days + 4).rem_euclid(7) as u32,
    }
}

/// Event time stamps as Salt 3006 writes them: `2026-11-22T15:31:02.433888`, UTC without a zone.
#[must_use]
pub fn stamp(time: SystemTime) -> String {
    let c = civil(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
        c.year, c.month, c.day, c.hour, c.minute, c.second, c.micro
    )
}

/// C's `asctime`: `Sun Nov 22 15:31:02 2026`, in UTC.
#[must_use]
pub fn asctime(time: SystemTime) -> String {
    let c = civil(time);
    let day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][c.weekday as usize % 7];
    format!(
        "{day} {} {:2} {:02}:{:02}:{:02} {}",
        month_name(c.month),
        c.day,
        c.hour,
        c.minute,
        c.second,
        c.year
    )
}

/// Whole seconds since 1970.
#[must_use]
pub fn epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Three-letter English month name; months outside of 1 to 12 wrap around.
#[must_use]
pub fn month_name(month: u32) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES[(month as usize + 11) % 12]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        let at = |s| civil(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!((at(0).year, at(0).month, at(0).day, at(0).weekday), (1970, 1, 1, 4));
        let leap = at(951_782_400);
        assert_eq!((leap.year, leap.month, leap.day, leap.weekday), (2000, 2, 29, 2));
        let t = UNIX_EPOCH + Duration::from_micros(1_795_361_462_433_888);
        assert_eq!(stamp(t), "2026-11-22T15:31:02.433888");
        assert_eq!(asctime(t), "Sun Nov 22 15:31:02 2026");
    }
}
