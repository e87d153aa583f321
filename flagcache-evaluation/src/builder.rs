//! The options of an evaluation.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::FlagDefinitionPoller;
use tokio::sync::watch;
use tracing::Instrument;

use crate::state::EvaluatorState;
use crate::sync::{self, Progress, SyncTask};
use crate::{LocalEvaluation, Overrides};

/// Configures a [`LocalEvaluation`]; from [`LocalEvaluation::builder`].
#[derive(Debug)]
pub struct LocalEvaluationBuilder<'a> {
    poller: &'a FlagDefinitionPoller,
    contexts: HashSet<String>,
    as_posthog_rs: bool,
    overrides: Overrides,
    ask_timeout: Duration,
}

/// The default of [`ask_timeout`](LocalEvaluationBuilder::ask_timeout).
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(3);

impl<'a> LocalEvaluationBuilder<'a> {
    pub(crate) fn new(poller: &'a FlagDefinitionPoller) -> Self {
        Self {
            poller,
            contexts: HashSet::new(),
            as_posthog_rs: false,
            overrides: Overrides::new(),
            ask_timeout: ASK_TIMEOUT,
        }
    }

    /// This service's evaluation contexts. A flag that names contexts, and none of these, is absent here, and `false` for
    /// flags that depend on it, as in PostHog's Node SDK. Without contexts all flags are evaluated.
    #[must_use]
    pub fn evaluation_contexts<S: Into<String>>(
        mut self,
        contexts: impl IntoIterator<Item = S>,
    ) -> Self {
        self.contexts = contexts.into_iter().map(Into::into).collect();
        self
    }

    /// Gives posthog-rs's own answers, from its own evaluator: in its time, which grows with the cohorts of the project,
    /// and where other SDKs give other values or none, as the guide lists them.
    #[must_use]
    pub fn answer_as_posthog_rs(mut self) -> Self {
        self.as_posthog_rs = true;
        self
    }

    /// Values that count in place of what the definitions decide, for development and tests. None by default.
    #[must_use]
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// How long `evaluate_or_ask` waits for PostHog's answer. Default: 3 s.
    #[must_use]
    pub fn ask_timeout(mut self, timeout: Duration) -> Self {
        self.ask_timeout = timeout;
        self
    }

    /// Follows the poller from now on, as [`LocalEvaluation::attach`] does.
    pub fn attach(self) -> LocalEvaluation {
        let state = Arc::new(EvaluatorState::new(
            self.contexts,
            self.as_posthog_rs,
            self.overrides,
        ));
        sync::log_changes(&state, &[], &HashMap::new());
        let (sender, progress) = watch::channel(Progress::default());
        let task = SyncTask {
            watch: self.poller.watch_definitions(),
            state: Arc::clone(&state),
            progress: sender,
            file: BTreeMap::new(),
            file_error: None,
        };
        let span = tracing::info_span!(target: "flagcache", "flagcache_evaluation");
        self.poller.runtime().spawn(task.run().instrument(span));
        LocalEvaluation::new(Some(self.poller.clone()), state, progress, self.ask_timeout)
    }
}
