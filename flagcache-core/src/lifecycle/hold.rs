//! [`Hold`]: a change that removes much is held back until a second answer of the API confirms it.

use tokio::time::Instant;

use super::Machine;
use super::event::{Notice, Removal, Step};
use crate::FlagDefinitionCacheData;

/// An answer of the API that is held back.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) data: FlagDefinitionCacheData,
    pub(super) removal: Removal,
    /// The next answer after this time decides.
    pub(super) until: Instant,
}

/// What `new` removes, if that is more than `share` of the flags, or all group types or cohorts.
pub(super) fn removal(
    old: &FlagDefinitionCacheData,
    new: &FlagDefinitionCacheData,
    share: f64,
) -> Option<Removal> {
    if new.same_content(old) {
        return None;
    }
    let lost = |old: &str, new: &str| !is_empty(old) && is_empty(new);
    let removal = Removal {
        removed: old
            .flags()
            .filter(|flag| new.flag(flag.key()).is_none())
            .count(),
        flags: old.len(),
        group_types: lost(
            old.group_type_mapping().as_str(),
            new.group_type_mapping().as_str(),
        ),
        cohorts: lost(old.cohorts().as_str(), new.cohorts().as_str()),
    };
    let too_many = removal.removed > 0 && exceeds(removal.removed, removal.flags, share);
    (too_many || removal.group_types || removal.cohorts).then_some(removal)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of flags are far below 2^53"
)]
fn exceeds(removed: usize, flags: usize, share: f64) -> bool {
    removed as f64 > share * flags as f64
}

impl Removal {
    /// Whether it removes no more than `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.removed <= other.removed
            && self.group_types <= other.group_types
            && self.cohorts <= other.cohorts
    }
}

/// Whether a JSON object, or `null`, has no members.
fn is_empty(json: &str) -> bool {
    let json = json.trim_ascii();
    json == "null"
        || json
            .strip_prefix('{')
            .is_some_and(|rest| rest.trim_ascii_start().starts_with('}'))
}

impl Machine {
    /// Whether to hold an answer back: if it removes much, until an answer one tick later confirms it.
    pub(super) fn holds_back(
        &mut self,
        now: Instant,
        data: &FlagDefinitionCacheData,
        steps: &mut Vec<Step>,
    ) -> bool {
        let earlier = self.hold.take();
        let (Some(share), Some(current)) =
            (self.policy.hold_back_removals, self.freshness.snapshot())
        else {
            return false;
        };
        let Some(removal) = removal(current, data, share) else {
            return false;
        };
        let until = match earlier {
            Some(hold) if removal.is_within(&hold.removal) && now >= hold.until => return false,
            Some(hold) if removal.is_within(&hold.removal) => hold.until,
            _ => {
                steps.push(Step::Notice(Notice::HeldBack(removal)));
                now + self.policy.poll_interval.mul_f64(0.9)
            }
        };
        self.hold = Some(Hold {
            data: data.clone(),
            removal,
            until,
        });
        true
    }

    /// Whether a 304 to this ETag refers to the change that is held back.
    pub(super) fn is_of_hold(&self, sent: Option<&str>) -> bool {
        let held = self.hold.as_ref().and_then(|hold| hold.data.etag());
        held.is_some() && held == sent
    }
}
