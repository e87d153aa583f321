//! What is evaluated.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use flagcache_core::FlagDefinitionCacheData;
use posthog_rs::{Event, FlagCache, FlagValue, InconclusiveMatchError, LocalEvaluator};

use crate::compile::Compiled;
use crate::overrides::Overrides;
use crate::rules::{Evaluation, Outcome};
use crate::sent_events::SentEvents;
use crate::{FlagSubject, flag_called_event, official};

/// What every evaluation loads, once, and never waits for.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub(crate) definitions: Option<FlagDefinitionCacheData>,
    compiled: Compiled,
    pub(crate) overrides: HashMap<String, FlagValue>,
    pub(crate) undecidable: Arc<Vec<(String, String)>>,
}

/// The definitions that are evaluated, and all that belongs to them.
pub(crate) struct EvaluatorState {
    current: ArcSwap<Current>,
    /// Made when it is first asked for.
    official: OnceLock<LocalEvaluator>,
    /// Held while `current` and `official` change, so that they change together.
    changing: Mutex<()>,
    contexts: HashSet<String>,
    as_posthog_rs: bool,
    pub(crate) overrides: Overrides,
    sent: SentEvents,
}

impl EvaluatorState {
    pub(crate) fn new(
        contexts: HashSet<String>,
        as_posthog_rs: bool,
        overrides: Overrides,
    ) -> Self {
        let state = Self {
            current: ArcSwap::default(),
            official: OnceLock::new(),
            changing: Mutex::new(()),
            contexts,
            as_posthog_rs,
            overrides,
            sent: SentEvents::new(),
        };
        state.install(None, &BTreeMap::new());
        state
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Puts definitions in force, `None` for none, with the overrides that a file holds.
    pub(crate) fn install(
        &self,
        definitions: Option<FlagDefinitionCacheData>,
        file: &BTreeMap<String, FlagValue>,
    ) {
        let _changing = self.changing.lock();
        let before = self.current.load_full();
        let compiled = match &definitions {
            Some(definitions) => Compiled::new(definitions, &before.compiled, &self.contexts),
            None => Compiled::default(),
        };
        let overrides = self
            .overrides
            .resolve(file, compiled.flags.keys().map(AsRef::as_ref));
        let undecidable = Arc::new(compiled.undecidable());
        let current = Arc::new(Current {
            definitions,
            compiled,
            overrides,
            undecidable,
        });
        if let Some(evaluator) = self.official.get() {
            evaluator.cache().update(current.official());
        }
        if let Some(definitions) = &current.definitions {
            let kept = current.compiled.kept(&before.compiled);
            tracing::debug!(
                name: "flagcache.evaluation_updated",
                target: "flagcache",
                flags = definitions.len(),
                kept,
                "flag definitions are taken up"
            );
        }
        self.current.store(current);
    }

    /// posthog-rs's own evaluator. From now on each update of the definitions updates it too.
    pub(crate) fn official(&self) -> &LocalEvaluator {
        if let Some(evaluator) = self.official.get() {
            return evaluator;
        }
        let _changing = self.changing.lock();
        self.official.get_or_init(|| {
            let cache = FlagCache::new();
            cache.update(self.current.load().official());
            LocalEvaluator::new(cache)
        })
    }

    pub(crate) fn evaluate(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        self.evaluate_in(&self.current.load(), key, subject)
            .map(|(value, _)| value)
    }

    /// Every flag, and what is overridden.
    pub(crate) fn evaluate_all(
        &self,
        subject: &FlagSubject,
    ) -> HashMap<String, Result<FlagValue, InconclusiveMatchError>> {
        let current = self.current.load();
        let absent = current
            .overrides
            .keys()
            .filter(|key| !current.compiled.flags.contains_key(key.as_str()));
        let keys = current
            .compiled
            .flags
            .keys()
            .map(AsRef::as_ref)
            .chain(absent.map(String::as_str));
        keys.filter_map(|key: &str| {
            let value = self
                .evaluate_in(&current, key, subject)
                .map(|(value, _)| value)
                .transpose()?;
            Some((key.to_owned(), value))
        })
        .collect()
    }

    /// The value, and whether an override had a part in it.
    fn evaluate_in(
        &self,
        current: &Current,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<(Option<FlagValue>, bool), InconclusiveMatchError> {
        let Some(flag) = current.compiled.flags.get(key) else {
            let overridden = current.overrides.get(key).cloned();
            let is_overridden = overridden.is_some();
            return Ok((overridden, is_overridden));
        };
        if self.as_posthog_rs && !current.overrides.contains_key(key) {
            let (id, properties) = (subject.distinct_id(), subject.properties());
            let (groups, group_properties) = (subject.groups(), subject.group_properties());
            let evaluate = || {
                self.official()
                    .evaluate_flag(key, id, properties, groups, group_properties)
            };
            // There are dates that it panics at (`-1é`, in 0.30), and they may be a user's words.
            let value = std::panic::catch_unwind(std::panic::AssertUnwindSafe(evaluate))
                .unwrap_or_else(|_| {
                    Err(InconclusiveMatchError::new(
                        "posthog-rs panicked in this evaluation",
                    ))
                })?;
            return Ok((value, false));
        }
        let mut evaluation = Evaluation {
            subject,
            group_types: &current.compiled.group_types,
            version: current.compiled.version,
            overrides: &current.overrides,
            done: Vec::new(),
            is_overridden: false,
        };
        let outcome: Outcome<'_> = evaluation.of(flag)?;
        Ok((Some(outcome.into()), evaluation.is_overridden))
    }

    /// Evaluates, and makes the event for it if there is one to send.
    pub(crate) fn evaluate_for_event(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<(Option<FlagValue>, Option<Event>), InconclusiveMatchError> {
        let current = self.current.load();
        let (value, is_overridden) = self.evaluate_in(&current, key, subject)?;
        // Without definitions there is no call to capture, and without an id no subject to capture it for.
        let Some(definitions) = &current.definitions else {
            return Ok((value, None));
        };
        if is_overridden
            || subject.distinct_id().is_empty()
            || !self.sent.is_first(subject, key, value.as_ref())
        {
            return Ok((value, None));
        }
        let flag = current.compiled.flags.get(key).map(AsRef::as_ref);
        let is_minimal = definitions.minimal_flag_called_events();
        let event = flag_called_event::event(subject, key, value.as_ref(), flag, is_minimal);
        // Cannot fail: every property is serializable.
        Ok((value, event.ok()))
    }
}

impl Current {
    fn official(&self) -> posthog_rs::LocalEvaluationResponse {
        official::response(self.definitions.as_ref(), &self.compiled, &self.overrides)
    }
}

impl fmt::Debug for EvaluatorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_struct("EvaluatorState")
            .field("definitions", &current.definitions)
            .field("overrides", &current.overrides.len())
            .field("undecidable", &current.undecidable.len())
            .finish_non_exhaustive()
    }
}
