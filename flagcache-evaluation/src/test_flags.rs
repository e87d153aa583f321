//! Flags for a user's own tests.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use flagcache_core::{DataError, FlagDefinitionCacheData};
use posthog_rs::FlagValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::builder::ASK_TIMEOUT;
use crate::overrides::flag_value;
use crate::state::EvaluatorState;
use crate::sync::Progress;
use crate::{LocalEvaluation, Overrides, official};

/// A ready [`LocalEvaluation`] for a unit test: without network, poller and runtime.
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

    /// This flag has this value for every subject: `true`, `false`, or the name of a variant.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.flags.insert(key.into(), flag_value(value.into()));
        self
    }

    /// The evaluation of these flags.
    pub fn build(self) -> LocalEvaluation {
        let flags: Vec<Value> = self
            .flags
            .iter()
            .map(|(key, value)| official::definition(key, value))
            .collect();
        // Cannot fail: these are flags with keys.
        ready(FlagDefinitionCacheData::from_json(json!({ "flags": flags }).to_string()).ok())
    }

    /// The evaluation of these definitions, as PostHog's API gives them: for tests of the rules themselves.
    ///
    /// # Errors
    ///
    /// If the JSON holds no flag definitions.
    pub fn from_json(json: impl Into<String>) -> Result<LocalEvaluation, DataError> {
        FlagDefinitionCacheData::from_json(json.into()).map(|definitions| ready(Some(definitions)))
    }
}

fn ready(definitions: Option<FlagDefinitionCacheData>) -> LocalEvaluation {
    let state = Arc::new(EvaluatorState::new(HashSet::new(), false, Overrides::new()));
    state.install(definitions, &BTreeMap::new());
    let (_, progress) = watch::channel(Progress {
        count: 0,
        ready: true,
    });
    LocalEvaluation::new(None, state, progress, ASK_TIMEOUT)
}
