//! What is evaluated.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use posthog_rs::{
    Event, FlagCache, FlagValue, InconclusiveMatchError, LocalEvaluationResponse, LocalEvaluator,
};

use super::decode::{decode, nothing};
use super::reported::Reported;
use super::{FlagSubject, UndecodableDefinitions, called};
use crate::FlagDefinitionCacheData;

/// posthog-rs's cache, with the set that is in it.
pub(super) struct Held {
    evaluator: LocalEvaluator,
    /// Held for reading while an evaluation and its event need one and the same set, for writing while it changes.
    definitions: RwLock<Option<FlagDefinitionCacheData>>,
    reported: Reported,
}

impl Held {
    pub(super) fn new() -> Self {
        let evaluator = LocalEvaluator::new(FlagCache::new());
        Self {
            evaluator,
            definitions: RwLock::default(),
            reported: Reported::new(),
        }
    }

    pub(super) fn evaluator(&self) -> &LocalEvaluator {
        &self.evaluator
    }

    pub(super) fn definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.definitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Decodes the set and puts it in force. If that fails, the one before it stays.
    pub(super) fn install(
        &self,
        set: FlagDefinitionCacheData,
    ) -> Result<(), UndecodableDefinitions> {
        let decoded = decode(&set)?;
        self.replace(decoded, Some(set));
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.replace(nothing(), None);
    }

    fn replace(&self, decoded: LocalEvaluationResponse, set: Option<FlagDefinitionCacheData>) {
        let mut definitions = self
            .definitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.evaluator.cache().update(decoded);
        let old = mem::replace(&mut *definitions, set);
        // A large set takes a while to be given back; nobody is to wait for that.
        drop(definitions);
        drop(old);
    }

    pub(super) fn evaluate(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        let (id, properties) = (subject.distinct_id(), subject.properties());
        let (groups, group_properties) = (subject.groups(), subject.group_properties());
        let evaluate = || {
            self.evaluator
                .evaluate_flag(key, id, properties, groups, group_properties)
        };
        // There are dates that it panics at (`-1é`, in 0.30), and they may be a user's words.
        catch_unwind(AssertUnwindSafe(evaluate)).unwrap_or_else(|_| {
            Err(InconclusiveMatchError::new(
                "posthog-rs panicked in this evaluation",
            ))
        })
    }

    /// Evaluates, and makes the event for it if there is one to send.
    pub(super) fn evaluate_for_event(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<(Option<FlagValue>, Option<Event>), InconclusiveMatchError> {
        let definitions = self
            .definitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let value = self.evaluate(key, subject)?;
        // Without definitions nothing was called, and without an id nobody called it.
        let is_call = definitions.is_some() && !subject.distinct_id().is_empty();
        if !is_call || !self.reported.is_first(subject, key, value.as_ref()) {
            return Ok((value, None));
        }
        let cache = self.evaluator.cache();
        let flag = cache.get_flag(key);
        let event = called::event(
            subject,
            key,
            value.as_ref(),
            flag.as_ref(),
            cache.minimal_flag_called_events(),
        );
        // It holds nothing that JSON cannot.
        Ok((value, event.ok()))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("definitions", &self.definitions())
            .field("reported", &self.reported)
            .finish()
    }
}
