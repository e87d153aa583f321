//! The handle of an evaluation.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionPoller, NotReadyError};
use posthog_rs::{Client, FlagValue, InconclusiveMatchError, LocalEvaluator};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::state::EvaluatorState;
use crate::sync::Progress;
use crate::{FlagSubject, LocalEvaluationBuilder};

/// Evaluates flags on the definitions of a poller.
///
/// Each change of the definitions is taken up flag by flag, from the JSON as the API sent it. Values are those of
/// PostHog's Python SDK on the same definitions. Where the Python or the Node SDK leaves the decision to the server, or where
/// the two disagree, the evaluation is inconclusive: the error says why, and PostHog can be asked. The guide lists the two
/// exceptions, in which Python decides as the server does and Node cannot.
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
/// // Once, when the service starts. The poller is a running `FlagDefinitionPoller`, the client a `posthog_rs::Client`.
/// let flags = LocalEvaluation::attach(&poller);
/// flags.wait_ready(Duration::from_secs(5)).await?;
///
/// // In each request. Nothing here waits for the network.
/// let ada = FlagSubject::new("ada").property("plan", "pro");
/// match flags.evaluate_and_capture(&client, "new-checkout", &ada) {
///     Ok(Some(FlagValue::Boolean(on))) => println!("{on}"),
///     Ok(Some(FlagValue::String(variant))) => println!("{variant}"),
///     Ok(None) => println!("there is no such flag"),
///     Err(inconclusive) => println!("it cannot be decided here: {inconclusive}"),
/// }
/// # Ok(()) }
/// ```
///
/// # Which one to call
///
/// | | events |
/// |---|---|
/// | [`evaluate_and_capture`](Self::evaluate_and_capture) | sends `$feature_flag_called` when a subject first gets a value |
/// | `evaluate_or_ask`, with feature `ask` | the same; asks PostHog where nothing is decided here |
/// | [`evaluate`](Self::evaluate), [`evaluate_all`](Self::evaluate_all) | none |
/// | [`evaluator`](Self::evaluator) | none: posthog-rs's own [`LocalEvaluator`], with its own answers and in its time |
///
/// PostHog counts the exposures of an experiment, and shows who called a flag, by the event `$feature_flag_called`. An
/// evaluation on this machine sends none by itself: an experiment whose flag is evaluated without it has no
/// participants. Use `evaluate_and_capture` where a user meets what the flag decides; use `evaluate` for kill switches,
/// and wherever the value is only looked at.
///
/// # Flags that cannot be decided here
///
/// [`undecidable`](Self::undecidable) lists them with their reasons, and one warning is logged when the list changes. All
/// other flags are evaluated: a flag that cannot be read does not affect them.
///
/// # Life
///
/// Attach once for each poller. The evaluation follows the poller until that ends, and keeps the last definitions then. A
/// policy that clears the definitions clears them here too. This handle is cheap to clone and keeps the poller running, as
/// any handle of it does; an [`evaluator`](Self::evaluator) on its own does not.
///
/// # Cost
///
/// An evaluation takes no lock, and what it costs depends on the flag alone: not on the other flags, the cohorts or the
/// changes of the project. A change of the definitions compiles the flags that changed, and those that depend on what did.
///
/// # posthog-rs
///
/// It is built without its default features, so without its async client. Name `posthog-rs` among your own dependencies,
/// in the same version as this crate, with the features that you use: `posthog-rs = "0.30"`. The client that captures
/// needs no secret key and no local evaluation of its own: that would poll a second time.
#[derive(Clone)]
pub struct LocalEvaluation {
    /// None where the definitions never change.
    poller: Option<FlagDefinitionPoller>,
    pub(crate) state: Arc<EvaluatorState>,
    progress: watch::Receiver<Progress>,
    #[cfg_attr(
        not(feature = "ask"),
        expect(dead_code, reason = "for `evaluate_or_ask`")
    )]
    pub(crate) ask_timeout: Duration,
}

/// Durations over one year (such as `Duration::MAX`) are clamped to one year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl LocalEvaluation {
    /// Follows this poller from now on, on the poller's runtime. Waits for nothing: call
    /// [`wait_ready`](Self::wait_ready) before the first evaluation.
    ///
    /// A poller that has ended is followed up to its last definitions, unless its runtime is gone.
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

    /// Waits until there are definitions to evaluate and the poller's status shows them, at most for `limit`. Empty
    /// definitions count. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`] when the limit passed, with what keeps them away, or when the poller ended without any.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), NotReadyError> {
        let Some(poller) = &self.poller else {
            return Ok(());
        };
        let deadline = Instant::now() + limit.min(LONGEST);
        let mut progress = self.progress.clone();
        let ready = async {
            let ready = progress.wait_for(|now| now.ready).await.is_ok();
            if ready {
                // It can be a little later. An error says that it has ended, which takes nothing away.
                let _ = poller.wait_ready(limit).await;
            }
            ready
        };
        match timeout_at(deadline, ready).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotReadyError::Stopped),
            Err(_) => Err(NotReadyError::Timeout {
                timeout: limit,
                last_error: poller.status().last_error,
            }),
        }
    }

    /// Waits until what the poller has in memory now is evaluated. For tests, and for a poller in manual mode, after its
    /// [`refresh`](FlagDefinitionPoller::refresh). Cancel safe.
    pub async fn synced(&self) {
        let Some(poller) = &self.poller else { return };
        let count = poller.install_count();
        // An error says that the poller has ended: nothing more will come.
        let _ = self
            .progress
            .clone()
            .wait_for(|now| now.count >= count)
            .await;
    }

    /// The definitions that are evaluated now; `None` until the first ones, and after a policy cleared them.
    pub fn definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.state.current().definitions.clone()
    }

    /// The flags that cannot be decided here for some subjects or for all, each with its key and the reason, by key.
    ///
    /// A flag of a form or a format that is not known is among them, and one with experience continuity, an unknown
    /// operator or a cohort that PostHog alone knows; and every flag that depends on such a flag. What is missing of a
    /// subject, such as a property, is not: the error of the evaluation says that.
    pub fn undecidable(&self) -> Vec<(String, String)> {
        self.state.current().undecidable.to_vec()
    }

    /// The flags that are overridden in this process, with their values.
    pub fn overrides(&self) -> HashMap<String, FlagValue> {
        self.state.current().overrides.clone()
    }

    /// posthog-rs's own evaluator, with its own answers. Built when it is first requested, and updated for as long as the
    /// poller runs. Flags that posthog-rs cannot decode are not in it; overrides are.
    pub fn evaluator(&self) -> LocalEvaluator {
        self.state.official().clone()
    }

    /// Evaluates a flag and sends nothing. `None` if there is no such flag, or no definitions at all.
    ///
    /// # Errors
    ///
    /// [`InconclusiveMatchError`] if it cannot be decided here, with the reason.
    pub fn evaluate(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        self.state.evaluate(key, subject)
    }

    /// Evaluates every flag, on the same definitions, and sends nothing.
    pub fn evaluate_all(
        &self,
        subject: &FlagSubject,
    ) -> HashMap<String, Result<FlagValue, InconclusiveMatchError>> {
        self.state.evaluate_all(subject)
    }

    /// Evaluates a flag and sends `$feature_flag_called` for it, without waiting for that.
    ///
    /// The event has the properties that posthog-rs's client gives to one of a flag that it evaluated itself, those of the
    /// [`RequestContext`](posthog_rs::RequestContext) in scope among them, and goes the way of any event that `client`
    /// captures. It is sent once for each subject, flag, value and groups; the last 100 000 such calls at least are
    /// remembered, by this handle and its clones.
    ///
    /// It is minimal if the definitions ask for it (`minimal_flag_called_events`) and say that the flag has no
    /// experiment: without payload, `$feature/…`, and all but a few properties of the context. posthog-rs adds the parts
    /// of its version (`$lib_version__major` and two more) to this event too, and what a `before_send` hook of the client
    /// adds stays.
    ///
    /// A flag that the definitions do not list is reported as missing. Nothing is sent for an empty distinct id, for a
    /// value in which an override had a part, while there are no definitions, and for an evaluation that fails.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate). The client can ask PostHog then, and captures that call itself:
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
