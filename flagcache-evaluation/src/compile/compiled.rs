//! [`Compiled`]: definitions, ready to be evaluated.

use std::collections::HashMap;
use std::sync::Arc;

use flagcache_core::FlagDefinitionCacheData;

use crate::inconclusive::Reason;
use crate::rules::{Cohort, Flag};

/// Compiled definitions.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    /// What this was compiled from.
    pub(crate) definitions: Option<FlagDefinitionCacheData>,
    pub(crate) flags: HashMap<Box<str>, Arc<Flag>>,
    pub(crate) cohorts: HashMap<Box<str>, Arc<Cohort>>,
    pub(crate) group_types: HashMap<String, String>,
    pub(crate) version: i64,
}

impl Compiled {
    /// The number of flags reused from `before`.
    pub(crate) fn count_reused(&self, before: &Self) -> usize {
        let is_reused = |flag: &&Arc<Flag>| {
            before
                .flags
                .get(&flag.key)
                .is_some_and(|before| Arc::ptr_eq(before, flag))
        };
        self.flags.values().filter(is_reused).count()
    }

    /// The flags that cannot be evaluated locally for some or all subjects, as pairs of key and reason, sorted by key.
    pub(crate) fn undecidable(&self) -> Vec<(String, String)> {
        let mut undecidable: Vec<_> = self
            .flags
            .values()
            .filter_map(|flag| Some((flag.key.to_string(), flag.undecidable.clone()?)))
            .chain(self.flags.values().filter_map(|flag| {
                let rules = flag.rules.as_ref().ok()?;
                let groups = rules.group.into_iter().chain(
                    rules
                        .conditions
                        .iter()
                        .filter_map(|condition| condition.group),
                );
                let unknown = groups
                    .into_iter()
                    .find(|index| !self.group_types.contains_key(&index.to_string()))?;
                flag.undecidable.is_none().then(|| {
                    (
                        flag.key.to_string(),
                        Reason::GroupTypeIndex(unknown).to_string(),
                    )
                })
            }))
            .collect();
        undecidable.sort_unstable();
        undecidable
    }
}
