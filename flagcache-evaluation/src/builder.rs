//! [`LocalEvaluationBuilder`]: the options of a [`LocalEvaluation`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::FlagDefinitionPoller;
use tokio::sync::watch;
use tracing::Instrument;

use crate::evaluation_counts::EvaluationCounts;
use crate::evaluator_state::EvaluatorState;
use crate::sync_task::{self, Progress, SyncTask};
use crate::{LocalEvaluation, Overrides};

/// Configures a [`LocalEvaluation`]; from [`LocalEvaluation::builder`].
#[derive(Debug)]
pub struct LocalEvaluationBuilder<'a> {
    poller: &'a FlagDefinitionPoller,
    contexts: HashSet<String>,
    use_posthog_rs: bool,
    overrides: Overrides,
    ask_timeout: Duration,
    #[cfg(feature = "metrics")]
    max_series: Option<usize>,
}

/// The default of [`ask_timeout`](LocalEvaluationBuilder::ask_timeout).
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(3);

impl<'a> LocalEvaluationBuilder<'a> {
    pub(crate) fn new(poller: &'a FlagDefinitionPoller) -> Self {
        Self {
            poller,
            contexts: HashSet::new(),
            use_posthog_rs: false,
            overrides: Overrides::new(),
            ask_timeout: ASK_TIMEOUT,
            #[cfg(feature = "metrics")]
            max_series: None,
        }
    }

    /// Sets the evaluation contexts of this service. A flag that is restricted to other contexts is treated as absent,
    /// and as `false` for flags that depend on it, as in PostHog's Node SDK. Default: none, which evaluates all flags.
    #[must_use]
    pub fn evaluation_contexts<S: Into<String>>(
        mut self,
        contexts: impl IntoIterator<Item = S>,
    ) -> Self {
        self.contexts = contexts.into_iter().map(Into::into).collect();
        self
    }

    /// Evaluates with posthog-rs's own evaluator. Its evaluations take longer the more cohorts the project has, and
    /// some of its values differ from those of the other SDKs; the guide lists the differences.
    #[must_use]
    pub fn use_posthog_rs_evaluator(mut self) -> Self {
        self.use_posthog_rs = true;
        self
    }

    /// Sets fixed values for flags, for development and tests. Default: none.
    #[must_use]
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// The timeout of a request by `evaluate_or_ask` and `evaluate_all_or_ask`. Default: 3 s.
    #[must_use]
    pub fn ask_timeout(mut self, timeout: Duration) -> Self {
        self.ask_timeout = timeout;
        self
    }

    /// Counts evaluations in the metric `flagcache_evaluations_total`, with the labels `flag` and `value`. Default: off,
    /// because it adds a lookup and an atomic increment to each evaluation.
    ///
    /// At most `max_series` pairs of flag and value are counted by name; later ones are counted as flag `other` with
    /// value `other`, and evaluations of a flag that the definitions do not contain as flag `other` with value `missing`.
    /// Counts what [`evaluate`](LocalEvaluation::evaluate), [`evaluate_and_capture`](LocalEvaluation::evaluate_and_capture)
    /// and `evaluate_or_ask` evaluate locally, but not [`evaluate_all`](LocalEvaluation::evaluate_all). Install the
    /// recorder of the `metrics` facade before the first evaluation.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    #[must_use]
    pub fn count_evaluations(mut self, max_series: usize) -> Self {
        self.max_series = Some(max_series);
        self
    }

    /// Starts to follow the poller, as [`LocalEvaluation::attach`] does.
    pub fn attach(self) -> LocalEvaluation {
        #[cfg(feature = "metrics")]
        let counts = self.max_series.map(EvaluationCounts::new);
        #[cfg(not(feature = "metrics"))]
        let counts: Option<EvaluationCounts> = None;
        let state = Arc::new(EvaluatorState::new(
            self.contexts,
            self.use_posthog_rs,
            self.overrides,
            counts,
        ));
        sync_task::log_changes(&state, &[], &HashMap::new());
        let (sender, progress) = watch::channel(Progress::default());
        let task = SyncTask {
            watch: self.poller.watch_definitions(),
            state: Arc::clone(&state),
            progress: sender,
            file_overrides: BTreeMap::new(),
            file_error: None,
        };
        let span = tracing::info_span!(target: "flagcache", "flagcache_evaluation");
        self.poller.runtime().spawn(task.run().instrument(span));
        LocalEvaluation::new(Some(self.poller.clone()), state, progress, self.ask_timeout)
    }
}
