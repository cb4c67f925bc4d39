//! Wheel group `minions`: who is connected.

use super::Wheel;
use crate::runners::binding::Signature;

/// The functions of this group.
pub(super) const WHEELS: &[Wheel] = &[Wheel {
    name: "minions.connected",
    doc: "The minions that are connected.",
    signature: Signature::of(&[], &[]),
    body: |call| Ok(call.shared.presence.connected().into_keys().collect::<Vec<_>>().into()),
}];
