//! In which order masters are tried.

use crate::policy::{Policy, Selection};
use crate::types::Master;

/// The order of the first round. Shuffling happens here and nowhere else: once a process, so a
/// master that just failed is never drawn first again. With failback the preferred master (the
/// first of the list) keeps its place.
#[must_use]
pub fn initial_order(policy: &Policy, rng: &mut fastrand::Rng) -> Vec<Master> {
    let mut order: Vec<Master> = (0..policy.masters.len()).map(Master).collect();
    match &policy.selection {
        Selection::Listed => {}
        Selection::Shuffled => {
            let fixed = usize::from(policy.failback_interval.is_some()).min(order.len());
            rng.shuffle(&mut order[fixed..]);
        }
        Selection::Distributed(id) if !order.is_empty() => {
            let first = crc32(id.as_bytes()) as usize % order.len();
            order.rotate_left(first);
        }
        Selection::Distributed(_) => {}
    }
    order
}

/// CRC-32 (IEEE 802.3), as Python's `zlib.crc32` computes it.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = 0u32.wrapping_sub(crc & 1);
            crc = (crc >> 1) ^ (0xEDB8_8320 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn policy(n: usize, selection: Selection, failback: bool) -> Policy {
        Policy {
            selection,
            failback_interval: failback.then_some(Duration::from_secs(5)),
            ..Policy::new((1..=n).map(|i| format!("m{i}")).collect())
        }
    }

    #[test]
    fn checksum_is_pythons() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn shuffling_keeps_every_master_and_the_preferred_one_in_place() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut seen_other_first = false;
        for _ in 0..50 {
            let mut order = initial_order(&policy(5, Selection::Shuffled, false), &mut rng);
            seen_other_first |= order[0] != Master(0);
            order.sort();
            assert_eq!(order, (0..5).map(Master).collect::<Vec<_>>());
            let kept = initial_order(&policy(5, Selection::Shuffled, true), &mut rng);
            assert_eq!(kept[0], Master(0));
        }
        assert!(seen_other_first);
    }

    #[test]
    fn distributed_rotates_by_the_checksum_of_the_id() {
        let mut rng = fastrand::Rng::with_seed(7);
        let selection = Selection::Distributed("123456789".into());
        let order = initial_order(&policy(3, selection, false), &mut rng);
        let first = 0xCBF4_3926usize % 3;
        assert_eq!(order[0], Master(first));
        assert_eq!(order[1], Master((first + 1) % 3));
    }
}
