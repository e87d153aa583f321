//! Which `$feature_flag_called` events were sent already.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::fmt;

use posthog_rs::FlagValue;
use xxhash_rust::xxh3::Xxh3;

use crate::FlagSubject;

/// How many calls one generation holds. Two of them are 5 MB at the most.
const GENERATION: usize = 100_000;

/// Remembers the calls that were sent: subject, flag, value and groups, as posthog-rs's client distinguishes them.
///
/// In two generations: the older is dropped when the younger is full. A call that recurs is never forgotten, and calls are
/// never all forgotten at once.
pub(super) struct SentEvents {
    /// Random, so that an id cannot be chosen to collide with another subject's call.
    seed: u64,
    generations: Mutex<[HashSet<u128>; 2]>,
    size: usize,
}

impl SentEvents {
    pub(super) fn new() -> Self {
        Self::with_generations_of(GENERATION)
    }

    fn with_generations_of(size: usize) -> Self {
        Self {
            seed: fastrand::u64(..),
            generations: Mutex::default(),
            size,
        }
    }

    /// Whether this call was not sent before. It is from now on.
    pub(super) fn is_first(
        &self,
        subject: &FlagSubject,
        key: &str,
        value: Option<&FlagValue>,
    ) -> bool {
        let call = self.digest(subject, key, value);
        let mut generations = self.generations.lock();
        let [younger, older] = &mut *generations;
        if younger.contains(&call) {
            return false;
        }
        if younger.len() >= self.size {
            std::mem::swap(younger, older);
            younger.clear();
        }
        younger.insert(call);
        !older.contains(&call)
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
    fn a_call_is_told_apart_by_subject_flag_value_and_groups() {
        let sent = SentEvents::new();
        let ada = FlagSubject::new("ada");
        let variant = |name: &str| FlagValue::String(name.to_owned());
        let first = |subject: &FlagSubject, key, value: Option<&FlagValue>| {
            sent.is_first(subject, key, value)
        };
        assert!(first(&ada, "a", ON));
        assert!(
            !first(&ada.clone().property("plan", "pro"), "a", ON),
            "properties are no part of it"
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
    fn what_is_called_often_is_never_forgotten() {
        let sent = SentEvents::with_generations_of(10);
        let ada = FlagSubject::new("ada");
        assert!(sent.is_first(&ada, "a", ON));
        for other in 0..100 {
            assert!(sent.is_first(&FlagSubject::new(other.to_string()), "a", ON));
            assert!(!sent.is_first(&ada, "a", ON), "after {other}");
        }
        assert!(
            sent.is_first(&FlagSubject::new("0"), "a", ON),
            "what is not called is"
        );
        let generations = sent.generations.lock();
        assert!(generations.iter().all(|generation| generation.len() <= 10));
    }
}
