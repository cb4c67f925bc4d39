//! PEM text as Salt compares, sends and fingerprints it (wire-protocol §4.5, §10.3, trap T6).

use crate::HashType;

/// The text with line ends as `\n`, no whitespace around the lines and no newline at the end:
/// the form keys are sent, stored and compared in.
#[must_use]
pub fn clean_pem(pem: &str) -> String {
    let mut clean = String::with_capacity(pem.len());
    for line in pem.trim().lines() {
        if !clean.is_empty() {
            clean.push('\n');
        }
        clean.push_str(line.trim());
    }
    clean
}

/// Whether two PEM texts are the same key written with other line ends or surrounding whitespace.
#[must_use]
pub fn same_pem(a: &str, b: &str) -> bool {
    a == b || clean_pem(a) == clean_pem(b)
}

/// The fingerprint of a PEM text: the digest of its non-blank lines but the first and the last,
/// each with its newline, as hexadecimal pairs joined by `:`. This is what `master_finger`
/// compares and `key.finger` prints.
#[must_use]
pub fn fingerprint(pem: &str, hash: HashType) -> String {
    let lines: Vec<&str> = pem.lines().filter(|l| !l.trim().is_empty()).collect();
    let inner = lines.get(1..lines.len().saturating_sub(1)).unwrap_or_default();
    let mut hasher = hash.hasher();
    for line in inner {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    let digits = hasher.finish_hex();
    let pairs: Vec<&str> =
        (0..digits.len()).step_by(2).filter_map(|i| digits.get(i..i + 2)).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_removes_what_editors_and_windows_add() {
        let clean = "-----BEGIN PUBLIC KEY-----\nAAA\nBBB\n-----END PUBLIC KEY-----";
        assert_eq!(clean_pem(&format!("\n  {}\r\n\n", clean.replace('\n', " \r\n"))), clean);
        assert!(same_pem(clean, &format!("{clean}\n")));
    }

    #[test]
    fn fingerprints_of_odd_texts_do_not_panic() {
        for text in ["", "x", "x\ny", "\n\n", "a\nb\nc"] {
            assert_eq!(fingerprint(text, HashType::Md5).len(), 47);
        }
    }
}
