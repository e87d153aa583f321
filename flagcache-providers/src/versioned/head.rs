//! The leader record: who leads, and which stored copy is current.

use bytes::Bytes;
use flagcache_core::{FleetFailure, ProviderError, ProviderErrorKind, Version};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

const SCHEMA: u32 = 1;

/// The record as it is stored, one small JSON object. Members that it does not name are those of a later release.
///
/// No write of it is like another: a leader increases `renewal` each time, and `term` and `leader` are new with each change
/// of leader. So a worker that lost an answer can see in the record whether its write took place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) schema: u32,
    /// The worker that leads, `None` after a release.
    pub(super) leader: Option<String>,
    /// Increases with each change of leader.
    pub(super) term: u64,
    /// Increases with each write of a leader. Who sees it unchanged for `lease_ms` may take over.
    pub(super) renewal: u64,
    pub(super) lease_ms: u64,
    /// How old the last confirmation of the copy was when this was written.
    #[serde(default)]
    pub(super) confirmed_ms: Option<u64>,
    /// Whether PostHog answers 402.
    #[serde(default)]
    pub(super) quota: bool,
    /// What the API answered a leader that could not fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
    /// The current copy.
    pub(super) copy: Option<CopyRef>,
}

/// A failure that concerns the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The text of a [`FleetFailure`]; any other is ignored.
    pub(super) text: String,
    /// How old it was when the record was written.
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

/// Which slot holds the current copy, and how to recognize it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyRef {
    pub(super) slot: Slot,
    pub(super) length: u64,
    /// xxh3 of the slot's value.
    pub(super) hash: String,
}

/// One of the two places for a copy.
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
    /// A record without leader and copy.
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
            copy: None,
        }
    }

    /// Whether a worker can have written it: a lease without end would never be free, and a counter at its end could not show a
    /// renewal.
    fn is_plausible(&self) -> bool {
        /// The longest TTL that `Versioned` takes.
        const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
        const END: u64 = u64::MAX / 2;
        self.lease_ms <= DAY_MS && self.term <= END && self.renewal <= END
    }

    /// The slot that a leader may write: not the current one, and not that of a worker that fills an empty store.
    pub(super) fn spare_slot(&self) -> Slot {
        match &self.copy {
            Some(CopyRef { slot: Slot::B, .. }) => Slot::A,
            Some(CopyRef { slot: Slot::A, .. }) | None => Slot::B,
        }
    }

    pub(super) fn to_json(&self) -> Bytes {
        // Strings and numbers alone: cannot fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// What lies under the head's key.
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
    /// Something else than a record. It is replaced like the record of a leader that stopped renewing.
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
                        "`{key}` was written in schema {}, newer than {SCHEMA}; update this worker",
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

    /// The record if `worker` leads in it.
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
