//! The records of a spool file: each says how long it is and carries a checksum, so that a torn or
//! damaged one is told from the others, which are found by the mark they begin with. Pure.

use std::ops::Range;

/// Begins every record.
const MARK: [u8; 4] = [0xf5, b'S', b'p', 0x01];

/// Mark, kind, number, length and checksum.
pub(crate) const HEADER: usize = 4 + 1 + 8 + 4 + 4;

/// What a record says about its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A return or an event to deliver.
    Item,
    /// A job that has begun.
    Begun,
    /// Nothing is left to do for this number.
    Done,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Item => 1,
            Kind::Begun => 2,
            Kind::Done => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Kind::Item, Kind::Begun, Kind::Done].into_iter().find(|kind| kind.code() == code)
    }
}

/// What a piece of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole record.
    Record {
        kind: Kind,
        number: u64,
        /// Where the record begins.
        at: usize,
        /// Where its body is.
        body: Range<usize>,
    },
    /// Bytes that belong to none.
    Damage(Range<usize>),
}

/// Appends a record whose body is written by `body`.
pub(crate) fn append(out: &mut Vec<u8>, kind: Kind, number: u64, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.push(kind.code());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    body(out);
    // One that is too long for its field does not read back; nothing of that size is accepted.
    let length = u32::try_from(out.len() - start - HEADER).unwrap_or(u32::MAX);
    put(out, start + 13, &length.to_be_bytes());
    let sum = checksum(out.get(start..).unwrap_or_default());
    put(out, start + 17, &sum.to_be_bytes());
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The checksum of a record, which leaves out the place where it stands.
fn checksum(record: &[u8]) -> u32 {
    let crc = crc(u32::MAX, record.get(..17).unwrap_or_default());
    !self::crc(crc, record.get(HEADER..).unwrap_or_default())
}

/// Everything in a file, in its order.
pub(crate) fn scan(bytes: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let (mut at, mut damaged) = (0, None);
    while at < bytes.len() {
        let Some((kind, number, end)) = read(bytes.get(at..).unwrap_or_default()) else {
            damaged.get_or_insert(at);
            at = next_mark(bytes, at + 1);
            continue;
        };
        if let Some(start) = damaged.take() {
            found.push(Found::Damage(start..at));
        }
        found.push(Found::Record { kind, number, at, body: at + HEADER..at + end });
        at += end;
    }
    if let Some(start) = damaged {
        found.push(Found::Damage(start..bytes.len()));
    }
    found
}

fn next_mark(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(MARK.len()).position(|w| w == MARK).map_or(bytes.len(), |n| from + n)
}

/// The record these bytes begin with, and its length.
pub(crate) fn read(bytes: &[u8]) -> Option<(Kind, u64, usize)> {
    if bytes.get(..4)? != MARK {
        return None;
    }
    let kind = Kind::of(*bytes.get(4)?)?;
    let number = u64::from_be_bytes(bytes.get(5..13)?.try_into().ok()?);
    let length = u32::from_be_bytes(bytes.get(13..17)?.try_into().ok()?);
    let sum = u32::from_be_bytes(bytes.get(17..21)?.try_into().ok()?);
    let end = HEADER.checked_add(usize::try_from(length).ok()?)?;
    (checksum(bytes.get(..end)?) == sum).then_some((kind, number, end))
}

/// CRC-32 (IEEE 802.3) by a table.
fn crc(mut crc: u32, bytes: &[u8]) -> u32 {
    for byte in bytes {
        let place = (crc ^ u32::from(*byte)) & 0xff;
        crc = (crc >> 8) ^ TABLE.get(place as usize).copied().unwrap_or_default();
    }
    crc
}

static TABLE: [u32; 256] = table();

#[allow(clippy::indexing_slicing)] // At compile time, and within the length.
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let (mut value, mut bit) = (place as u32, 0);
        while bit < 8 {
            value = (value >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(value & 1));
            bit += 1;
        }
        table[place] = value;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, Kind::Item, 7, |out| out.extend_from_slice(b"first"));
        append(&mut out, Kind::Done, 7, |_| ());
        append(&mut out, Kind::Begun, 8, |out| out.extend_from_slice(b"last"));
        out
    }

    fn numbers(found: &[Found]) -> Vec<u64> {
        let number = |f: &Found| match f {
            Found::Record { number, .. } => Some(*number),
            Found::Damage(_) => None,
        };
        found.iter().filter_map(number).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(!crc(u32::MAX, b"123456789"), 0xCBF4_3926);
        let bytes = three();
        let found = scan(&bytes);
        assert_eq!(numbers(&found), [7, 7, 8]);
        let Found::Record { kind: Kind::Begun, body, .. } = &found[2] else { panic!("{found:?}") };
        assert_eq!(&bytes[body.clone()], b"last");
    }

    #[test]
    fn damage_anywhere_costs_one_record() {
        for place in 0..three().len() {
            let mut bytes = three();
            bytes[place] ^= 0x40;
            let found = scan(&bytes);
            assert_eq!(numbers(&found).len(), 2, "byte {place}: {found:?}");
            assert_eq!(found.len(), 3);
        }
        for end in 0..three().len() {
            let bytes = three()[..end].to_vec();
            let damage = scan(&bytes).iter().filter(|f| matches!(f, Found::Damage(_))).count();
            assert!(damage <= 1 && numbers(&scan(&bytes)).len() < 3);
        }
        assert_eq!(scan(b"").len(), 0);
        assert_eq!(scan(b"nonsense"), [Found::Damage(0..8)]);
    }
}
