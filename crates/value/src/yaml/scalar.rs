//! Scalars to numbers, truth values and bytes, by PyYAML's rules with Salt's leading zeros.

use crate::Value;

/// Reads an `!!int`. `None`: no number (Python raises an error there).
pub(super) fn int(text: &str) -> Option<Value> {
    // Salt: leading zeros are dropped, so a file mode stays what is written (0644 is 644). A sign
    // in front keeps YAML 1.1's octal, as in Salt.
    let stripped = match text {
        "0" => text,
        t if t.starts_with('0') && !t.starts_with("0b") && !t.starts_with("0x") => {
            let rest = t.trim_start_matches('0');
            if rest.is_empty() { "0" } else { rest }
        }
        t => t,
    };
    let text = stripped.replace('_', "");
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text.as_str()),
    };
    if digits == "0" {
        return Some(Value::Int(0));
    }
    if let Some(binary) = digits.strip_prefix("0b") {
        return radix(binary, 2, negative);
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return radix(hex, 16, negative);
    }
    if digits.starts_with('0') {
        return radix(digits, 8, negative);
    }
    if digits.contains(':') {
        let mut total: i128 = 0;
        for part in digits.split(':') {
            let part: i128 = part.parse().ok()?;
            total = total.checked_mul(60)?.checked_add(part)?;
        }
        return Some(Value::from(if negative { -total } else { total }));
    }
    radix(digits.trim(), 10, negative)
}

/// Python refuses longer decimal numbers too.
const MAX_DIGITS: usize = 4300;

fn radix(digits: &str, base: u32, negative: bool) -> Option<Value> {
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    if let Ok(n) = i128::from_str_radix(digits, base) {
        return Some(Value::from(if negative { -n } else { n }));
    }
    let mut text = big_decimal(digits, base);
    if negative {
        text.insert(0, '-');
    }
    Some(Value::Big(text.into()))
}

/// Decimal digits of a number of any size, in limbs of nine digits.
fn big_decimal(digits: &str, base: u32) -> String {
    const LIMB: u64 = 1_000_000_000;
    let mut limbs: Vec<u64> = vec![0];
    for digit in digits.chars().filter_map(|c| c.to_digit(base)) {
        let mut carry = u64::from(digit);
        for limb in &mut limbs {
            let n = *limb * u64::from(base) + carry;
            *limb = n % LIMB;
            carry = n / LIMB;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut out = String::new();
    for limb in limbs.iter().rev() {
        if out.is_empty() {
            out = limb.to_string();
        } else {
            out.push_str(&format!("{limb:09}"));
        }
    }
    out
}

/// Reads a `!!float`.
pub(super) fn float(text: &str) -> Option<Value> {
    let text = text.replace('_', "").to_lowercase();
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1.0, text.get(1..)?),
        b'+' => (1.0, text.get(1..)?),
        _ => (1.0, text.as_str()),
    };
    let number = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => return Some(Value::Float(f64::NAN)),
        _ if digits.contains(':') => {
            let mut parts = Vec::new();
            for part in digits.split(':') {
                parts.push(part.trim().parse::<f64>().ok()?);
            }
            let mut base = 1.0;
            let mut total = 0.0;
            for part in parts.iter().rev() {
                total += part * base;
                base *= 60.0;
            }
            total
        }
        _ => digits.trim().parse::<f64>().ok()?,
    };
    Some(Value::Float(sign * number))
}

/// Reads a `!!bool`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Reads a `!!binary`: base 64, anything outside of its alphabet is skipped, missing padding is
/// forgiven (3008 does, 3006 does not).
pub(super) fn binary(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits = 0u32;
    let mut held = 0u32;
    for b in text.bytes() {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if held >= 2 => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(six);
        held += 1;
        if held == 4 {
            out.extend(bits.to_be_bytes().iter().skip(1));
            (bits, held) = (0, 0);
        }
    }
    let rest = bits << (6 * (4 - held.min(4)));
    match held {
        0 => Some(out),
        2 | 3 => {
            out.extend(rest.to_be_bytes().iter().skip(1).take(held as usize - 1));
            Some(out)
        }
        _ => None,
    }
}

/// Base 64 in lines of 76 characters, each with its newline.
pub(super) fn binary_text(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len() / 57 * 77 + 80);
    for line in bytes.chunks(57) {
        for chunk in line.chunks(3) {
            let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for i in 0..4 {
                let six = (bits >> (18 - 6 * i)) as usize & 63;
                out.push(if i > chunk.len() { '=' } else { char::from(ALPHABET[six]) });
            }
        }
        out.push('\n');
    }
    out
}
