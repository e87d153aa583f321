//! [`SentEvents`]: deduplicates `$feature_flag_called` events.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::fmt;

use posthog_rs::FlagValue;
use xxhash_rust::xxh3::Xxh3;

use crate::FlagSubject;

/// The capacity of one generation. Two generations take at most 5 MB.
const GENERATION_CAPACITY: usize = 100_000;

/// The set of events already sent, identified by subject, flag, value and groups, as in posthog-rs's client.
///
/// Kept in two generations: when the newer is full, the older is dropped. Events that recur are never dropped, and the
/// set is never emptied at once.
pub(super) struct SentEvents {
    /// Random, so that a distinct id cannot be crafted to collide with another subject's event.
    seed: u64,
    generations: Mutex<[HashSet<u128>; 2]>,
    capacity: usize,
}

impl SentEvents {
    pub(super) fn new() -> Self {
        Self::with_capacity(GENERATION_CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            seed: fastrand::u64(..),
            generations: Mutex::default(),
            capacity,
        }
    }

    /// Inserts an event. Returns whether it is new.
    pub(super) fn insert(
        &self,
        subject: &FlagSubject,
        key: &str,
        value: Option<&FlagValue>,
    ) -> bool {
        let event = self.digest(subject, key, value);
        let mut generations = self.generations.lock();
        let [newer, older] = &mut *generations;
        if newer.contains(&event) {
            return false;
        }
        if newer.len() >= self.capacity {
            std::mem::swap(newer, older);
            newer.clear();
        }
        newer.insert(event);
        !older.contains(&event)
    }

    fn digest(&self, subject: &FlagSubject, key: &str, value: Option<&FlagValue>) -> u128 {
        let mut digest = Xxh3::with_seed(self.seed);
        let mut add = |part: &str| {
            digest.update(&part.len().to_le_bytes());
            digest.update(part.as_bytes());
        };
        add(subject.distinct_id());
        add(key);
        match value {
            Some(FlagValue::Boolean(true)) => add("true"),
            Some(FlagValue::Boolean(false)) => add("false"),
            Some(FlagValue::String(variant)) => ["variant", variant].into_iter().for_each(&mut add),
            None => add("missing"),
        }
        let mut groups: Vec<_> = subject.groups().iter().collect();
        groups.sort_unstable();
        groups
            .into_iter()
            .flat_map(|(group_type, key)| [group_type, key])
            .for_each(|part| add(part));
        digest.digest128()
    }
}

impl fmt::Debug for SentEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentEvents").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Option<&FlagValue> = Some(&FlagValue::Boolean(true));

    #[test]
    fn events_are_distinguished_by_subject_flag_value_and_groups() {
        let sent = SentEvents::new();
        let ada = FlagSubject::new("ada");
        let variant = |name: &str| FlagValue::String(name.to_owned());
        let first = |subject: &FlagSubject, key, value: Option<&FlagValue>| {
            sent.insert(subject, key, value)
        };
        assert!(first(&ada, "a", ON));
        assert!(
            !first(&ada.clone().property("plan", "pro"), "a", ON),
            "properties are not part of the identity"
        );
        assert!(first(&ada, "b", ON));
        assert!(first(&FlagSubject::new("grace"), "a", ON));
        assert!(first(&ada, "a", Some(&FlagValue::Boolean(false))));
        assert!(first(&ada, "a", Some(&variant("true"))));
        assert!(first(&ada, "a", None));
        let grouped = ada.clone().group("company", "acme").group("team", "red");
        assert!(first(&grouped, "a", ON));
        assert!(!first(
            &ada.clone().group("team", "red").group("company", "acme"),
            "a",
            ON
        ));
        assert!(first(&ada.clone().group("company", "acme"), "a", ON));
        assert!(!first(&ada, "a", ON));
    }

    #[test]
    fn recurring_events_are_never_forgotten() {
        let sent = SentEvents::with_capacity(10);
        let ada = FlagSubject::new("ada");
        assert!(sent.insert(&ada, "a", ON));
        for other in 0..100 {
            assert!(sent.insert(&FlagSubject::new(other.to_string()), "a", ON));
            assert!(!sent.insert(&ada, "a", ON), "after {other}");
        }
        assert!(
            sent.insert(&FlagSubject::new("0"), "a", ON),
            "an event that does not recur is forgotten"
        );
        let generations = sent.generations.lock();
        assert!(generations.iter().all(|generation| generation.len() <= 10));
    }
}
