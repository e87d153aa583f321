//! [`TestFlags`]: fixed flags for the tests of an application.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use flagcache_core::{DataError, FlagDefinitionCacheData};
use posthog_rs::FlagValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::builder::ASK_TIMEOUT;
use crate::evaluator_state::EvaluatorState;
use crate::overrides::flag_value;
use crate::sync_task::Progress;
use crate::{LocalEvaluation, Overrides, posthog_evaluator};

/// Builds a ready [`LocalEvaluation`] for unit tests, without network, poller or runtime.
///
/// ```
/// use flagcache_evaluation::{FlagSubject, TestFlags};
/// use posthog_rs::FlagValue;
///
/// let flags = TestFlags::new().set("new-checkout", "blue").set("kill-switch", false).build();
/// let value = flags.evaluate("new-checkout", &FlagSubject::new("ada"));
/// assert_eq!(value.ok().flatten(), Some(FlagValue::String("blue".to_owned())));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TestFlags {
    flags: BTreeMap<String, FlagValue>,
}

impl TestFlags {
    /// No flags yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a flag for all subjects: `true`, `false`, or the key of a variant.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.flags.insert(key.into(), flag_value(value.into()));
        self
    }

    /// Builds the evaluation.
    pub fn build(self) -> LocalEvaluation {
        let flags: Vec<Value> = self
            .flags
            .iter()
            .map(|(key, value)| posthog_evaluator::definition(key, value))
            .collect();
        // Cannot fail: the definitions are valid.
        ready(FlagDefinitionCacheData::from_json(json!({ "flags": flags }).to_string()).ok())
    }

    /// Builds an evaluation of definitions in the JSON format of PostHog's API, for tests of the rules themselves.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the JSON is not valid definitions.
    pub fn from_json(json: impl Into<String>) -> Result<LocalEvaluation, DataError> {
        FlagDefinitionCacheData::from_json(json.into()).map(|definitions| ready(Some(definitions)))
    }
}

fn ready(definitions: Option<FlagDefinitionCacheData>) -> LocalEvaluation {
    let state = Arc::new(EvaluatorState::new(
        HashSet::new(),
        false,
        Overrides::new(),
        None,
    ));
    state.install(definitions, &BTreeMap::new());
    let (_, progress) = watch::channel(Progress {
        count: 0,
        ready: true,
    });
    LocalEvaluation::new(None, state, progress, ASK_TIMEOUT)
}
