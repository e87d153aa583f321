//! [`EvaluatorState`]: the compiled definitions and overrides of an evaluator, and the evaluation on them.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use flagcache_core::FlagDefinitionCacheData;
use posthog_rs::{Event, FlagCache, FlagValue, InconclusiveMatchError, LocalEvaluator};

use crate::compile::Compiled;
use crate::evaluation_counts::EvaluationCounts;
use crate::overrides::Overrides;
use crate::rules::{Evaluation, Outcome};
use crate::sent_events::SentEvents;
use crate::{FlagSubject, flag_called_event, posthog_evaluator};

/// The state that every evaluation loads once, without waiting.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub(crate) definitions: Option<FlagDefinitionCacheData>,
    compiled: Compiled,
    pub(crate) overrides: HashMap<String, FlagValue>,
    pub(crate) undecidable: Arc<Vec<(String, String)>>,
}

/// The current state and the options of an evaluator.
pub(crate) struct EvaluatorState {
    current: ArcSwap<Current>,
    /// Created on first use.
    posthog_evaluator: OnceLock<LocalEvaluator>,
    /// Locked while `current` and `posthog_evaluator` are updated, so that they match.
    update_lock: Mutex<()>,
    contexts: HashSet<String>,
    use_posthog_rs: bool,
    pub(crate) overrides: Overrides,
    sent_events: SentEvents,
    /// `None` unless evaluations are counted.
    counts: Option<EvaluationCounts>,
}

/// The value of a flag, and whether it depends on an override.
type Evaluated = Result<(Option<FlagValue>, bool), InconclusiveMatchError>;

impl EvaluatorState {
    pub(crate) fn new(
        contexts: HashSet<String>,
        use_posthog_rs: bool,
        overrides: Overrides,
        counts: Option<EvaluationCounts>,
    ) -> Self {
        let state = Self {
            current: ArcSwap::default(),
            posthog_evaluator: OnceLock::new(),
            update_lock: Mutex::new(()),
            contexts,
            use_posthog_rs,
            overrides,
            sent_events: SentEvents::new(),
            counts,
        };
        state.install(None, &BTreeMap::new());
        state
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Compiles and installs definitions, or removes them if `None`, together with the overrides read from the file.
    pub(crate) fn install(
        &self,
        definitions: Option<FlagDefinitionCacheData>,
        file_overrides: &BTreeMap<String, FlagValue>,
    ) {
        let _guard = self.update_lock.lock();
        let before = self.current.load_full();
        let compiled = match &definitions {
            Some(definitions) => Compiled::new(definitions, &before.compiled, &self.contexts),
            None => Compiled::default(),
        };
        let overrides = self
            .overrides
            .resolve(file_overrides, compiled.flags.keys().map(AsRef::as_ref));
        let undecidable = Arc::new(compiled.undecidable());
        let current = Arc::new(Current {
            definitions,
            compiled,
            overrides,
            undecidable,
        });
        if let Some(evaluator) = self.posthog_evaluator.get() {
            evaluator.cache().update(current.posthog_rs_response());
        }
        if let Some(definitions) = &current.definitions {
            let kept = current.compiled.count_reused(&before.compiled);
            tracing::debug!(
                name: "flagcache.evaluation_updated",
                target: "flagcache",
                flags = definitions.len(),
                kept,
                "flag definitions installed"
            );
        }
        self.current.store(current);
    }

    /// posthog-rs's own evaluator. From the first call on, `install` updates it too.
    pub(crate) fn posthog_evaluator(&self) -> &LocalEvaluator {
        if let Some(evaluator) = self.posthog_evaluator.get() {
            return evaluator;
        }
        let _guard = self.update_lock.lock();
        self.posthog_evaluator.get_or_init(|| {
            let cache = FlagCache::new();
            cache.update(self.current.load().posthog_rs_response());
            LocalEvaluator::new(cache)
        })
    }

    pub(crate) fn evaluate(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        self.evaluate_counted(&self.current.load(), key, subject)
            .map(|(value, _)| value)
    }

    /// Evaluates every flag, including overrides of flags that the definitions do not contain.
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

    /// [`evaluate_in`](Self::evaluate_in), counted if evaluations are.
    fn evaluate_counted(&self, current: &Current, key: &str, subject: &FlagSubject) -> Evaluated {
        let evaluated = self.evaluate_in(current, key, subject);
        if let Some(counts) = &self.counts {
            let value = evaluated.as_ref().map(|(value, _)| value.as_ref());
            counts.count(key, value.map_err(drop));
        }
        evaluated
    }

    fn evaluate_in(&self, current: &Current, key: &str, subject: &FlagSubject) -> Evaluated {
        let Some(flag) = current.compiled.flags.get(key) else {
            let overridden = current.overrides.get(key).cloned();
            let uses_override = overridden.is_some();
            return Ok((overridden, uses_override));
        };
        if self.use_posthog_rs && !current.overrides.contains_key(key) {
            let (id, properties) = (subject.distinct_id(), subject.properties());
            let (groups, group_properties) = (subject.groups(), subject.group_properties());
            let evaluate = || {
                self.posthog_evaluator().evaluate_flag(
                    key,
                    id,
                    properties,
                    groups,
                    group_properties,
                )
            };
            // posthog-rs 0.30 panics on some dates, such as `-1é`, which may come from user input.
            let value = std::panic::catch_unwind(std::panic::AssertUnwindSafe(evaluate))
                .unwrap_or_else(|_| {
                    Err(InconclusiveMatchError::new(
                        "posthog-rs panicked during the evaluation",
                    ))
                })?;
            return Ok((value, false));
        }
        let mut evaluation = Evaluation {
            subject,
            group_types: &current.compiled.group_types,
            version: current.compiled.version,
            overrides: &current.overrides,
            evaluated: Vec::new(),
            uses_override: false,
        };
        let outcome: Outcome<'_> = evaluation.evaluate(flag)?;
        Ok((Some(outcome.into()), evaluation.uses_override))
    }

    /// Evaluates a flag, and builds its event if one must be sent.
    pub(crate) fn evaluate_for_event(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<(Option<FlagValue>, Option<Event>), InconclusiveMatchError> {
        let current = self.current.load();
        let (value, uses_override) = self.evaluate_counted(&current, key, subject)?;
        // Without definitions or a distinct id, no event is sent.
        let Some(definitions) = &current.definitions else {
            return Ok((value, None));
        };
        if uses_override
            || subject.distinct_id().is_empty()
            || !self.sent_events.insert(subject, key, value.as_ref())
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
    fn posthog_rs_response(&self) -> posthog_rs::LocalEvaluationResponse {
        posthog_evaluator::response(self.definitions.as_ref(), &self.compiled, &self.overrides)
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
