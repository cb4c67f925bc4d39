//! Local time: the zone of `TZ` or `/etc/localtime`, read once at first use.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tz::TimeZone;

use crate::time::{self, Civil};

/// A point in time as the clocks of this place show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The calendar time.
    pub civil: Civil,
    /// Seconds east of UTC.
    pub offset: i32,
    /// Abbreviation of the zone, such as `CET`.
    pub zone: String,
}

/// Takes a time apart in the local zone; in UTC when the zone cannot be read.
#[must_use]
pub fn local(now: SystemTime) -> Local {
    static ZONE: OnceLock<Option<TimeZone>> = OnceLock::new();
    local_in(ZONE.get_or_init(|| TimeZone::local().ok()).as_ref(), now)
}

fn local_in(zone: Option<&TimeZone>, now: SystemTime) -> Local {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let kind = zone.and_then(|z| z.find_local_time_type(since.as_secs() as i64).ok());
    let offset = kind.map_or(0, tz::LocalTimeType::ut_offset);
    let name = kind.map_or("UTC", |k| k.time_zone_designation());
    let shift = Duration::from_secs(u64::from(offset.unsigned_abs()));
    let shifted = if offset < 0 { now.checked_sub(shift) } else { now.checked_add(shift) };
    Local { civil: time::civil(shifted.unwrap_or(now)), offset, zone: name.to_owned() }
}

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// C's `strftime` in the C locale. Unknown directives stay as they are.
#[must_use]
pub fn strftime(format: &str, at: &Local, epoch: u64) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(directive) => directive_text(&mut out, directive, at, epoch),
            None => out.push('%'),
        }
    }
    out
}

fn directive_text(out: &mut String, directive: char, at: &Local, epoch: u64) {
    use std::fmt::Write;
    let c = &at.civil;
    let hour12 = (c.hour + 11) % 12 + 1;
    let day = DAYS.get(c.weekday as usize).copied().unwrap_or_default();
    let month = MONTHS.get((c.month as usize).wrapping_sub(1)).copied().unwrap_or_default();
    let meridian = if c.hour < 12 { "AM" } else { "PM" };
    let sign = if at.offset < 0 { '-' } else { '+' };
    let zone_minutes = at.offset.unsigned_abs() / 60;
    let nested = |format: &str| strftime(format, at, epoch);
    // Writing to a String cannot fail.
    let _ = match directive {
        'Y' => write!(out, "{}", c.year),
        'y' => write!(out, "{:02}", c.year.rem_euclid(100)),
        'C' => write!(out, "{:02}", c.year.div_euclid(100)),
        'm' => write!(out, "{:02}", c.month),
        'd' => write!(out, "{:02}", c.day),
        'e' => write!(out, "{:2}", c.day),
        'H' => write!(out, "{:02}", c.hour),
        'k' => write!(out, "{:2}", c.hour),
        'I' => write!(out, "{hour12:02}"),
        'l' => write!(out, "{hour12:2}"),
        'M' => write!(out, "{:02}", c.minute),
        'S' => write!(out, "{:02}", c.second),
        'f' => write!(out, "{:06}", c.micro),
        'j' => write!(out, "{:03}", day_of_year(c)),
        'a' => write!(out, "{}", day.get(..3).unwrap_or(day)),
        'A' => write!(out, "{day}"),
        'b' | 'h' => write!(out, "{}", month.get(..3).unwrap_or(month)),
        'B' => write!(out, "{month}"),
        'p' => write!(out, "{meridian}"),
        'P' => write!(out, "{}", meridian.to_ascii_lowercase()),
        'w' => write!(out, "{}", c.weekday),
        'u' => write!(out, "{}", (c.weekday + 6) % 7 + 1),
        'z' => write!(out, "{sign}{:02}{:02}", zone_minutes / 60, zone_minutes % 60),
        'Z' => write!(out, "{}", at.zone),
        's' => write!(out, "{epoch}"),
        'F' => write!(out, "{}", nested("%Y-%m-%d")),
        'T' | 'X' => write!(out, "{}", nested("%H:%M:%S")),
        'R' => write!(out, "{}", nested("%H:%M")),
        'D' | 'x' => write!(out, "{}", nested("%m/%d/%y")),
        'c' => write!(out, "{}", nested("%a %b %e %H:%M:%S %Y")),
        'r' => write!(out, "{}", nested("%I:%M:%S %p")),
        'n' => writeln!(out),
        't' => write!(out, "\t"),
        '%' => write!(out, "%"),
        other => write!(out, "%{other}"),
    };
}

fn day_of_year(c: &Civil) -> u32 {
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = c.year % 4 == 0 && (c.year % 100 != 0 || c.year % 400 == 0);
    let before = BEFORE.get((c.month as usize).wrapping_sub(1)).copied().unwrap_or(0);
    before + c.day + u32::from(leap && c.month > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(seconds * 1_000_000 + 7)
    }

    #[test]
    fn zones_shift_the_calendar() {
        let zone = TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let winter = local_in(Some(&zone), at(1_795_391_999));
        assert_eq!((winter.offset, winter.zone.as_str()), (3600, "CET"));
        assert_eq!(strftime("%F %T %z %Z", &winter, 0), "2026-11-23 00:59:59 +0100 CET");
        let summer = local_in(Some(&zone), at(1_782_864_000));
        assert_eq!(summer.zone, "CEST");
    }

    #[test]
    fn the_c_locale() {
        let t = local_in(None, at(1_795_361_462));
        assert_eq!(strftime("%a %A %b %B %e %j %p %I %y %%", &t, 0), {
            "Sun Sunday Nov November 22 326 PM 03 26 %"
        });
        assert_eq!(strftime("%c|%D|%R|%f|%s|%Q|%", &t, 9), {
            "Sun Nov 22 15:31:02 2026|11/22/26|15:31|000007|9|%Q|%"
        });
    }
}
