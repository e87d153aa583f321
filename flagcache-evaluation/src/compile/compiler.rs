//! [`Compiler`]: compiles each flag and cohort once, or reuses it from the previous definitions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flagcache_core::FlagDefinitionCacheData;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use super::compiled::Compiled;
use super::json;
use crate::rules::{Cohort, Dependencies, Flag, FlagReference};

/// The maximum depth of dependencies between flags and cohorts, and of nested property groups.
pub(super) const MAX_DEPTH: usize = 64;

/// The state of a compilation.
pub(super) struct Compiler<'a> {
    pub(super) definitions: &'a FlagDefinitionCacheData,
    pub(super) before: &'a Compiled,
    pub(super) contexts: &'a HashSet<String>,
    /// Whether the text of all cohorts is the same as before.
    pub(super) has_same_cohorts: bool,
    /// The JSON of the cohorts; `None` until a cohort has to be compiled.
    pub(super) raw_cohorts: Option<HashMap<String, &'a RawValue>>,
    /// Compiled flags; `None` while a flag is being compiled.
    pub(super) flags: HashMap<&'a str, Option<FlagReference>>,
    /// Compiled cohorts. The outer `Option` is `None` while a cohort is being compiled, the inner one if the
    /// definitions do not contain it.
    pub(super) cohorts: HashMap<Box<str>, Option<Option<Arc<Cohort>>>>,
    pub(super) depth: usize,
}

/// The dependencies of a flag or cohort being compiled, and the first reason why it cannot be evaluated locally.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) dependencies: Dependencies,
    pub(super) undecidable: Option<String>,
    /// Whether it depends on flags.
    pub(super) has_flags: bool,
}

impl Draft {
    pub(super) fn add_undecidable(&mut self, reason: Option<&str>) {
        if self.undecidable.is_none() {
            self.undecidable = reason.map(str::to_owned);
        }
    }
}

impl<'a> Compiler<'a> {
    /// Compiles a flag, unless that is done already.
    pub(super) fn flag(&mut self, key: &str) -> FlagReference {
        match self.flags.get(key) {
            Some(Some(reference)) => return reference.clone(),
            Some(None) => return FlagReference::Cyclic,
            None => {}
        }
        let Some(flag) = self.definitions.flag(key) else {
            return FlagReference::Missing;
        };
        if self.depth >= MAX_DEPTH {
            return FlagReference::Cyclic;
        }
        self.flags.insert(flag.key(), None);
        self.depth += 1;
        // The contexts never change, and `before` contains no flags of other contexts.
        let reference = match self.reused_flag(key, flag.json()) {
            Some(reused) => FlagReference::Flag(reused),
            None => match json::object(flag.json()) {
                Ok(object) if self.is_of_other_context(&object) => FlagReference::OtherContext,
                object => FlagReference::Flag(Arc::new(self.new_flag(key, object))),
            },
        };
        self.depth -= 1;
        self.flags.insert(flag.key(), Some(reference.clone()));
        reference
    }

    /// The previous flag, if neither it nor its dependencies have changed.
    fn reused_flag(&mut self, key: &str, json: &str) -> Option<Arc<Flag>> {
        let before = self.before;
        let json_before = before.definitions.as_ref()?.flag(key)?.json();
        let flag = before.flags.get(key).filter(|_| json_before == json)?;
        self.are_unchanged(&flag.dependencies)
            .then(|| Arc::clone(flag))
    }

    /// Compiles the dependencies. Returns whether all of them are the same as before.
    fn are_unchanged(&mut self, dependencies: &Dependencies) -> bool {
        dependencies
            .cohorts
            .iter()
            .all(|(id, before)| match (self.cohort(id), before) {
                (Ok(Some(now)), Some(before)) => Arc::ptr_eq(&now, before),
                (Ok(None), None) => true,
                _ => false,
            })
            && dependencies
                .flags
                .iter()
                .all(|(key, before)| match (self.flag(key), before) {
                    (FlagReference::Flag(now), FlagReference::Flag(before)) => {
                        Arc::ptr_eq(&now, before)
                    }
                    (FlagReference::Missing, FlagReference::Missing)
                    | (FlagReference::OtherContext, FlagReference::OtherContext) => true,
                    _ => false,
                })
    }

    /// Compiles a cohort, unless that is done already. `None` if the definitions do not contain it.
    pub(super) fn cohort(&mut self, id: &str) -> Result<Option<Arc<Cohort>>, String> {
        match self.cohorts.get(id) {
            Some(Some(cohort)) => return Ok(cohort.clone()),
            Some(None) => return Err("its cohorts form a cycle".to_owned()),
            None => {}
        }
        if self.depth >= MAX_DEPTH {
            return Err("its cohorts are nested too deeply".to_owned());
        }
        self.cohorts.insert(id.into(), None);
        self.depth += 1;
        let unchanged = if self.has_same_cohorts {
            self.reused_cohort(id, None)
        } else {
            None
        };
        let cohort = unchanged.or_else(|| {
            let json = self.raw_cohort(id)?;
            let fingerprint = xxh3_128(json.get().as_bytes());
            let reused = self.reused_cohort(id, Some(fingerprint));
            Some(reused.unwrap_or_else(|| Arc::new(self.new_cohort(fingerprint, json.get()))))
        });
        self.depth -= 1;
        self.cohorts.insert(id.into(), Some(cohort.clone()));
        Ok(cohort)
    }

    fn raw_cohort(&mut self, id: &str) -> Option<&'a RawValue> {
        let definitions = self.definitions;
        let cohorts = self
            .raw_cohorts
            .get_or_insert_with(|| definitions.cohorts().deserialize().unwrap_or_default());
        cohorts.get(id).copied()
    }

    /// The previous cohort, if neither it nor its dependencies have changed. Without a fingerprint, its JSON is known to be
    /// the same.
    fn reused_cohort(&mut self, id: &str, fingerprint: Option<u128>) -> Option<Arc<Cohort>> {
        let before = self.before;
        let cohort = before.cohorts.get(id).filter(|cohort| {
            fingerprint.is_none_or(|fingerprint| cohort.fingerprint == fingerprint)
        })?;
        self.are_unchanged(&cohort.dependencies)
            .then(|| Arc::clone(cohort))
    }
}
