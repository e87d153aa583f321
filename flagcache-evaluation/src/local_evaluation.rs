//! [`LocalEvaluation`]: the handle that evaluates flags.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionPoller, NotReadyError};
use posthog_rs::{Client, FlagValue, InconclusiveMatchError, LocalEvaluator};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::evaluator_state::EvaluatorState;
use crate::sync_task::Progress;
use crate::{FlagSubject, LocalEvaluationBuilder};

/// Evaluates flags locally, on the current definitions of a poller.
///
/// Values equal those of PostHog's Python SDK for the same definitions. The evaluation is inconclusive if the Python or
/// the Node SDK requires the server, or if the two SDKs disagree; the error contains the reason, and PostHog can be
/// asked instead. The guide lists two exceptions, in which Python agrees with the server and Node does not.
///
/// ```no_run
/// use std::time::Duration;
///
/// use flagcache_core::FlagDefinitionPoller;
/// use flagcache_evaluation::{FlagSubject, LocalEvaluation};
/// use posthog_rs::FlagValue;
///
/// # async fn serve(
/// #     poller: FlagDefinitionPoller, client: posthog_rs::Client
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// // Once, when the service starts, with a running `FlagDefinitionPoller` and a `posthog_rs::Client`.
/// let flags = LocalEvaluation::attach(&poller);
/// flags.wait_ready(Duration::from_secs(5)).await?;
///
/// // In each request. Never waits for the network.
/// let ada = FlagSubject::new("ada").property("plan", "pro");
/// match flags.evaluate_and_capture(&client, "new-checkout", &ada) {
///     Ok(Some(FlagValue::Boolean(on))) => println!("{on}"),
///     Ok(Some(FlagValue::String(variant))) => println!("{variant}"),
///     Ok(None) => println!("no such flag"),
///     Err(inconclusive) => println!("inconclusive: {inconclusive}"),
/// }
/// # Ok(()) }
/// ```
///
/// # Methods
///
/// | | sends events |
/// |---|---|
/// | [`evaluate_and_capture`](Self::evaluate_and_capture) | `$feature_flag_called`, once per subject and value |
/// | `evaluate_or_ask`, with feature `ask` | the same; asks PostHog if the local evaluation is inconclusive |
/// | [`evaluate`](Self::evaluate), [`evaluate_all`](Self::evaluate_all) | none |
/// | [`evaluator`](Self::evaluator) | none: posthog-rs's own [`LocalEvaluator`], with its own values and performance |
///
/// PostHog counts the exposures of an experiment by the event `$feature_flag_called`. Without it, an experiment has no
/// participants. Use `evaluate_and_capture` where a user sees the effect of a flag; use `evaluate` for kill switches,
/// and where the value is only inspected.
///
/// # Undecidable flags
///
/// [`undecidable`](Self::undecidable) lists the flags that cannot be evaluated locally, with their reasons. One warning
/// is logged when the list changes. An undecidable flag affects no other flag, except those that depend on it.
///
/// # Lifetime
///
/// Attach once per poller. The evaluation follows the poller until the poller ends, and then keeps the last
/// definitions. If a policy clears the poller's definitions, they are cleared here too. The handle is cheap to clone
/// and keeps the poller running, as every handle of the poller does; an [`evaluator`](Self::evaluator) alone does not.
///
/// # Performance
///
/// An evaluation takes no lock. Its cost depends on the flag alone, not on the number of other flags or cohorts, nor on
/// updates. An update compiles only the flags that changed, and those that depend on a change.
///
/// # posthog-rs
///
/// This crate depends on posthog-rs without its default features, that is, without its async client. Add `posthog-rs`
/// to your own dependencies, in the same version and with the features you need: `posthog-rs = "0.30"`. The client that
/// captures events needs no secret key. Do not enable its local evaluation, which would poll a second time.
#[derive(Clone)]
pub struct LocalEvaluation {
    /// `None` for fixed definitions.
    poller: Option<FlagDefinitionPoller>,
    pub(crate) state: Arc<EvaluatorState>,
    progress: watch::Receiver<Progress>,
    #[cfg_attr(
        not(feature = "ask"),
        expect(dead_code, reason = "for `evaluate_or_ask`")
    )]
    pub(crate) ask_timeout: Duration,
}

/// Timeouts over one year (such as `Duration::MAX`) are clamped to one year.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl LocalEvaluation {
    /// Starts to follow a poller, in a task on the poller's runtime. Returns immediately: call
    /// [`wait_ready`](Self::wait_ready) before the first evaluation.
    ///
    /// If the poller has ended, its last definitions are evaluated, unless its runtime has shut down.
    pub fn attach(poller: &FlagDefinitionPoller) -> Self {
        Self::builder(poller).attach()
    }

    /// [`attach`](Self::attach) with options.
    pub fn builder(poller: &FlagDefinitionPoller) -> LocalEvaluationBuilder<'_> {
        LocalEvaluationBuilder::new(poller)
    }

    pub(crate) fn new(
        poller: Option<FlagDefinitionPoller>,
        state: Arc<EvaluatorState>,
        progress: watch::Receiver<Progress>,
        ask_timeout: Duration,
    ) -> Self {
        Self {
            poller,
            state,
            progress,
            ask_timeout,
        }
    }

    /// Waits until there are definitions to evaluate and the poller's status reflects them. Definitions without flags
    /// count. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`] if the timeout elapses, with the last load's error, or if the poller ends without definitions.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotReadyError> {
        let Some(poller) = &self.poller else {
            return Ok(());
        };
        let deadline = Instant::now() + timeout.min(MAX_TIMEOUT);
        let mut progress = self.progress.clone();
        let ready = async {
            let ready = progress.wait_for(|now| now.ready).await.is_ok();
            if ready {
                // The status may be updated slightly later. If the poller has ended, its definitions are still
                // evaluated.
                let _ = poller.wait_ready(timeout).await;
            }
            ready
        };
        match timeout_at(deadline, ready).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotReadyError::Stopped),
            Err(_) => Err(NotReadyError::Timeout {
                timeout,
                last_error: poller.status().last_error,
            }),
        }
    }

    /// Waits until the definitions that the poller has in memory now are evaluated. For tests, and for use after
    /// [`refresh`](FlagDefinitionPoller::refresh) in manual mode. Cancel safe.
    pub async fn synced(&self) {
        let Some(poller) = &self.poller else { return };
        let count = poller.install_count();
        // An error means that the poller has ended, and no update follows.
        let _ = self
            .progress
            .clone()
            .wait_for(|now| now.count >= count)
            .await;
    }

    /// The definitions being evaluated; `None` before the first load, and after a policy cleared them.
    pub fn definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.state.current().definitions().cloned()
    }

    /// The flags that cannot be evaluated locally for some or all subjects, as pairs of key and reason, sorted by key.
    ///
    /// These are flags with an invalid or unknown definition, experience continuity, an unknown operator, or a cohort
    /// that the definitions do not contain, and all flags that depend on them. Flags that are inconclusive only because
    /// a subject lacks a property or group are not listed.
    pub fn undecidable(&self) -> Vec<(String, String)> {
        self.state.current().undecidable.to_vec()
    }

    /// The overrides in use, by flag key.
    pub fn overrides(&self) -> HashMap<String, FlagValue> {
        self.state.current().overrides.clone()
    }

    /// posthog-rs's own evaluator. Built on first use, and updated for as long as the poller runs. Contains the
    /// overrides, but not the flags that posthog-rs cannot decode.
    pub fn evaluator(&self) -> LocalEvaluator {
        self.state.posthog_evaluator().clone()
    }

    /// Evaluates a flag without sending an event. `None` if there is no such flag, or there are no definitions.
    ///
    /// # Errors
    ///
    /// [`InconclusiveMatchError`], with the reason, if the flag cannot be evaluated locally for this subject.
    pub fn evaluate(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        self.state.evaluate(key, subject)
    }

    /// Evaluates every flag on the same definitions, without sending events.
    pub fn evaluate_all(
        &self,
        subject: &FlagSubject,
    ) -> HashMap<String, Result<FlagValue, InconclusiveMatchError>> {
        self.state.evaluate_all(subject)
    }

    /// Evaluates a flag and captures the event `$feature_flag_called`, without waiting for it to be sent.
    ///
    /// The event has the same properties as that of posthog-rs's client for a local evaluation, including those of the
    /// [`RequestContext`](posthog_rs::RequestContext) in scope. `client` sends it as any other event. It is sent once
    /// per subject, flag, value and groups; this handle and its clones remember at least the last 100 000 such
    /// combinations.
    ///
    /// The event is minimal if the definitions enable `minimal_flag_called_events` and state that the flag has no
    /// experiment: it then lacks the payload, `$feature/…`, and most properties of the context. posthog-rs adds the
    /// parts of its version (`$lib_version__major` and two more) to minimal events too, and the client's `before_send`
    /// hooks may add properties.
    ///
    /// A flag that the definitions do not contain is captured as missing. No event is sent for an empty distinct id,
    /// for a value that depends on an override, without definitions, or if the evaluation is inconclusive.
    ///
    /// # Errors
    ///
    /// As for [`evaluate`](Self::evaluate). In that case, the client can ask PostHog and capture the event itself:
    /// `client.evaluate_flags(subject.distinct_id(), subject.into())`.
    pub fn evaluate_and_capture(
        &self,
        client: &Client,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        let (value, event) = self.state.evaluate_for_event(key, subject)?;
        if let Some(event) = event {
            client.capture(event);
        }
        Ok(value)
    }
}

impl fmt::Debug for LocalEvaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEvaluation")
            .field("poller", &self.poller)
            .field("state", &self.state)
            .field("progress", &*self.progress.borrow())
            .finish()
    }
}
