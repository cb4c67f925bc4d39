//! Job ids: UTC time to the microsecond, 20 digits, with an optional `_suffix` (wire-protocol §6.5).

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::time;

/// A valid job id. It becomes a key of files and tables, so only [`Jid::parse`] and the
/// generators here make one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jid(String);

/// A text that is no job id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidJid;

impl fmt::Display for InvalidJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job id has 20 digits, optionally followed by _ and a suffix")
    }
}

impl std::error::Error for InvalidJid {}

impl Jid {
    /// Checks a text that claims to be a job id.
    ///
    /// # Errors
    /// [`InvalidJid`] when it is none; a suffix may only have letters, digits, `_` and `-`.
    pub fn parse(text: &str) -> Result<Self, InvalidJid> {
        let (digits, suffix) = text.split_at_checked(20).ok_or(InvalidJid)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let good_suffix = suffix.is_empty()
            || (suffix.len() > 1
                && suffix.len() <= 64
                && suffix.starts_with('_')
                && suffix.chars().all(plain));
        if digits.bytes().all(|b| b.is_ascii_digit()) && good_suffix {
            Ok(Jid(text.to_owned()))
        } else {
            Err(InvalidJid)
        }
    }

    /// The job id of that moment.
    #[must_use]
    pub fn at(now: SystemTime) -> Self {
        let c = time::civil(now);
        Jid(format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}{:06}",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.micro
        ))
    }

    /// The job id of that moment, or the next one free if `last` is not older: ids of one source
    /// never repeat and always grow.
    #[must_use]
    pub fn after(now: SystemTime, last: Option<&Jid>) -> Self {
        let mut now = now;
        loop {
            let jid = Jid::at(now);
            match last {
                Some(last) if jid.0.as_str() <= &last.0[..20] => {
                    now += Duration::from_micros(1).max(gap(&jid, last));
                }
                _ => return jid,
            }
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The start time as Salt prints it: `2026, Jan 02 03:04:05.000678`.
    #[must_use]
    pub fn start_time(&self) -> String {
        let d = &self.0;
        let month = time::month_name(d[4..6].parse().unwrap_or(1));
        format!(
            "{}, {} {} {}:{}:{}.{}",
            &d[0..4],
            month,
            &d[6..8],
            &d[8..10],
            &d[10..12],
            &d[12..14],
            &d[14..20]
        )
    }
}

/// How far `jid` lies behind `last` when both are of the same second; a second otherwise.
fn gap(jid: &Jid, last: &Jid) -> Duration {
    if jid.0[..14] == last.0[..14] {
        let micros = |j: &Jid| j.0[14..20].parse::<u64>().unwrap_or(0);
        Duration::from_micros(micros(last).saturating_sub(micros(jid)) + 1)
    } else {
        Duration::from_secs(1)
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_job_ids_are_job_ids() {
        assert!(Jid::parse("20260102030405000678").is_ok());
        assert!(Jid::parse("20260102030405000678_123").is_ok());
        for bad in [
            "",
            "req",
            "2026010203040500067",
            "20260102030405000678_",
            "20260102030405000678x",
            "20260102030405000678_../x",
            "../../../../etc/passw",
        ] {
            assert!(Jid::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_of_one_source_grow() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_361_462);
        let first = Jid::after(now, None);
        let second = Jid::after(now, Some(&first));
        assert!(second > first);
        let earlier = Jid::after(now - Duration::from_secs(3), Some(&second));
        assert!(earlier > second, "a clock that went back must not repeat ids");
    }

    #[test]
    fn the_start_time_is_printed_as_salt_prints_it() {
        let jid = Jid::parse("20260102030405000678").unwrap();
        assert_eq!(jid.start_time(), "2026, Jan 02 03:04:05.000678");
    }
}
