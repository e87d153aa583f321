//! [`Head`]: the leader record, which names the leader and the current copy.

use std::time::Duration;

use bytes::Bytes;
use flagcache_core::{FleetFailure, ProviderError, ProviderErrorKind, Version};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

const SCHEMA: u32 = 1;

/// The longest TTL of a lease. A record with a longer one is damaged.
pub(super) const MAX_LEASE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The leader record, stored as a small JSON object. Unknown members, which a later release may add, are ignored.
///
/// Each write is unique: a leader increases `renewal` each time, and `term` and `leader` change with each new leader.
/// So a worker whose answer was lost can read the record to find out whether its write succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) schema: u32,
    /// The name of the leader; `None` after a release.
    pub(super) leader: Option<String>,
    /// Increases with each change of leader.
    pub(super) term: u64,
    /// Increases with each write by a leader. A worker that sees it unchanged for `lease_ms` may take over.
    pub(super) renewal: u64,
    pub(super) lease_ms: u64,
    /// The age of the last confirmation of the copy when the record was written.
    #[serde(default)]
    pub(super) confirmed_ms: Option<u64>,
    /// Whether PostHog answers 402.
    #[serde(default)]
    pub(super) quota: bool,
    /// The failure of the leader's last request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
    /// Whether a worker requested a refresh since the leader's last decision.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) refresh: bool,
    /// The current copy.
    pub(super) copy: Option<CopyRef>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// A failure that affects the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The text of a [`FleetFailure`]; other texts are ignored.
    pub(super) text: String,
    /// The age of the failure when the record was written.
    pub(super) age_ms: u64,
}

impl Failure {
    pub(super) fn new(failure: FleetFailure) -> Self {
        Self {
            text: failure.to_string(),
            age_ms: 0,
        }
    }
}

/// The slot of the current copy, and the length and hash that identify it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyRef {
    pub(super) slot: Slot,
    pub(super) length: u64,
    /// The xxh3 hash of the slot's value.
    pub(super) hash: String,
}

/// One of the two keys for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Slot {
    A,
    B,
}

impl CopyRef {
    pub(super) fn of(slot: Slot, value: &[u8]) -> Self {
        Self {
            slot,
            length: value.len() as u64,
            hash: format!("{:016x}", xxh3_64(value)),
        }
    }

    pub(super) fn is_of(&self, value: &[u8]) -> bool {
        *self == Self::of(self.slot, value)
    }
}

impl Head {
    /// A record without a leader and a copy.
    pub(super) fn empty(lease_ms: u64) -> Self {
        Self {
            schema: SCHEMA,
            leader: None,
            term: 0,
            renewal: 0,
            lease_ms,
            confirmed_ms: None,
            quota: false,
            failure: None,
            refresh: false,
            copy: None,
        }
    }

    /// Whether a worker can have written it. A lease without an end would never be free, and a counter at its maximum
    /// could not show a renewal.
    fn is_plausible(&self) -> bool {
        const END: u64 = u64::MAX / 2;
        Duration::from_millis(self.lease_ms) <= MAX_LEASE_TTL
            && self.term <= END
            && self.renewal <= END
    }

    /// The slot that a leader may write: neither the current one nor slot A of an empty store, which followers may
    /// fill.
    pub(super) fn spare_slot(&self) -> Slot {
        match &self.copy {
            Some(CopyRef { slot: Slot::B, .. }) => Slot::A,
            Some(CopyRef { slot: Slot::A, .. }) | None => Slot::B,
        }
    }

    pub(super) fn to_json(&self) -> Bytes {
        // Cannot fail: the record contains only strings and numbers.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// The value of the head's key.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// `None` if the key does not exist.
    pub(super) version: Option<Version>,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Absent,
    Head(Head),
    /// The value is not a valid record. It is replaced like the record of a leader that has stopped renewing.
    Damaged,
}

impl Record {
    pub(super) fn read(value: Option<(Bytes, Version)>, key: &str) -> Result<Self, ProviderError> {
        let Some((bytes, version)) = value else {
            return Ok(Self {
                version: None,
                content: Content::Absent,
            });
        };
        let content = match serde_json::from_slice::<Head>(&bytes) {
            Ok(head) if head.schema > SCHEMA => {
                return Err(ProviderError::new(
                    ProviderErrorKind::InvalidData,
                    format!(
                        "`{key}` has schema {}, but this worker supports only {SCHEMA}; update this worker",
                        head.schema
                    ),
                ));
            }
            Ok(head) if head.is_plausible() => Content::Head(head),
            Ok(_) | Err(_) => Content::Damaged,
        };
        Ok(Self {
            version: Some(version),
            content,
        })
    }

    pub(super) fn head(&self) -> Option<&Head> {
        match &self.content {
            Content::Head(head) => Some(head),
            Content::Absent | Content::Damaged => None,
        }
    }

    /// The record, if `worker` is the leader.
    pub(super) fn led_by(&self, worker: &str) -> Option<&Head> {
        self.head()
            .filter(|head| head.leader.as_deref() == Some(worker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_small_and_comes_back() {
        let head = Head {
            leader: Some("0123456789abcdef".to_owned()),
            term: u64::MAX / 2,
            renewal: u64::MAX / 2,
            confirmed_ms: Some(123_456_789),
            quota: true,
            copy: Some(CopyRef::of(Slot::B, b"{}")),
            ..Head::empty(5_000)
        };
        let json = head.to_json();
        assert!(json.len() < 260, "{} bytes", json.len());
        let failure = Failure {
            text: "x".repeat(100),
            age_ms: u64::MAX,
        };
        let head = Head {
            failure: Some(failure),
            ..head
        };
        let json = head.to_json();
        assert!(json.len() < 430, "{} bytes", json.len());
        let version = Version::from(1_u64);
        let record = Record::read(Some((json, version)), "k").unwrap();
        assert_eq!(record.head(), Some(&head));
    }

    #[test]
    fn unknown_members_are_ignored_and_newer_schemas_refused() {
        let later = |schema: u32| {
            let json = format!(
                r#"{{"schema":{schema},"leader":null,"term":1,"renewal":1,"lease_ms":1,"copy":null,"refusals":{{}}}}"#
            );
            Record::read(Some((json.into(), Version::from(1_u64))), "k")
        };
        assert!(later(1).unwrap().head().is_some());
        assert!(
            later(2)
                .unwrap_err()
                .to_string()
                .contains("update this worker")
        );
        let garbage = Record::read(Some(("[]".into(), Version::from(1_u64))), "k").unwrap();
        assert_eq!(garbage.content, Content::Damaged);
    }

    #[test]
    fn a_record_that_no_worker_writes_is_damaged() {
        let read = |head: &Head| {
            Record::read(Some((head.to_json(), Version::from(1_u64))), "k")
                .unwrap()
                .content
        };
        let longest = Head::empty(24 * 60 * 60 * 1_000);
        assert_eq!(read(&longest), Content::Head(longest.clone()));
        for damaged in [
            Head::empty(24 * 60 * 60 * 1_000 + 1),
            Head {
                term: u64::MAX,
                ..longest.clone()
            },
            Head {
                renewal: u64::MAX,
                ..longest.clone()
            },
        ] {
            assert_eq!(read(&damaged), Content::Damaged, "{damaged:?}");
        }
    }

    #[test]
    fn a_leader_never_writes_the_current_slot() {
        let mut head = Head::empty(1);
        assert_eq!(head.spare_slot(), Slot::B);
        for (current, spare) in [(Slot::A, Slot::B), (Slot::B, Slot::A)] {
            head.copy = Some(CopyRef::of(current, b""));
            assert_eq!(head.spare_slot(), spare);
        }
    }
}
