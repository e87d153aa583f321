//! The evaluation bridge: a poller's definitions in posthog-rs's evaluator.

mod called;
mod decode;
mod foreign_form;
mod held;
mod keeper;
mod reported;
mod subject;
mod undecodable;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use posthog_rs::{Client, FlagValue, InconclusiveMatchError, LocalEvaluator};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

pub use subject::FlagSubject;
pub use undecodable::UndecodableDefinitions;

use crate::duration::clamped;
use crate::{FlagDefinitionCacheData, FlagDefinitionPoller, NotReadyError};
use held::Held;
use keeper::{Keeper, State};

/// Evaluates flags with the official evaluator of [`posthog_rs`], on the definitions of a poller.
///
/// It keeps a [`posthog_rs::FlagCache`] in step with what the poller has in memory: each new set is decoded once, from the
/// JSON as the API sent it, with the rules of property matching that it was made for. So every worker of a fleet evaluates
/// as one that polls with `posthog_rs` would, from the one copy that they share.
///
/// ```no_run
/// use std::time::Duration;
///
/// use flagcache_core::{FlagDefinitionPoller, FlagSubject, LocalEvaluation};
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
///     Err(inconclusive) => println!("a property is not known: {inconclusive}"),
/// }
/// # Ok(()) }
/// ```
///
/// # Which of the three to call
///
/// | | events |
/// |---|---|
/// | [`evaluate_and_capture`](Self::evaluate_and_capture) | sends `$feature_flag_called` when a subject first gets a value |
/// | [`evaluate`](Self::evaluate) | none |
/// | [`evaluator`](Self::evaluator) | none: the official [`LocalEvaluator`], for code that has one already, or for all flags at once |
///
/// PostHog counts the exposures of an experiment, and shows who called a flag, by the event `$feature_flag_called`. An
/// evaluation on this machine sends none by itself: an experiment whose flag is evaluated without it has no
/// participants. Use `evaluate_and_capture` where a user meets what the flag decides; use `evaluate` for kill switches,
/// and wherever the value is only looked at.
///
/// # Definitions that posthog-rs cannot decode
///
/// The poller takes any set whose flags have keys; `posthog_rs` asks for more. If it cannot decode a set, the one before
/// it goes on being evaluated, [`last_error`](Self::last_error) says which flag is at fault, and one warning is logged. It
/// ends with the next set that can be decoded.
///
/// # Life
///
/// Attach once for each poller. The evaluator follows the poller until that ends, and keeps the last definitions then. A
/// policy that clears the definitions clears them here too. This handle is cheap to clone and keeps the poller running, as
/// any handle of it does; an [`evaluator`](Self::evaluator) on its own does not.
///
/// # posthog-rs
///
/// It is built without its default features, so without its async client. Name `posthog-rs` among your own dependencies,
/// in the same version as this crate, with the features that you use: `posthog-rs = "0.30"`. The client that captures
/// needs no secret key and no local evaluation of its own: that would poll a second time.
#[derive(Clone)]
pub struct LocalEvaluation {
    poller: FlagDefinitionPoller,
    held: Arc<Held>,
    state: watch::Receiver<State>,
}

impl LocalEvaluation {
    /// Follows this poller from now on, on the poller's runtime. Waits for nothing: call
    /// [`wait_ready`](Self::wait_ready) before the first evaluation.
    ///
    /// A poller that has ended is followed up to its last definitions, unless its runtime is gone.
    pub fn attach(poller: &FlagDefinitionPoller) -> Self {
        let held = Arc::new(Held::new());
        let (sender, state) = watch::channel(State::default());
        let keeper = Keeper {
            installs: poller.installs(),
            held: Arc::clone(&held),
            state: sender,
            refused: None,
        };
        let span = tracing::info_span!(target: "flagcache", "flagcache_evaluation");
        poller.runtime().spawn(keeper.run().instrument(span));
        Self {
            poller: poller.clone(),
            held,
            state,
        }
    }

    /// Waits until there are definitions to evaluate, at most for `limit`, and the poller's status tells of them. An empty
    /// set counts. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`] when the limit passed, with what keeps them away, or when the poller ended without any.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), NotReadyError> {
        let deadline = Instant::now() + clamped(limit);
        let mut state = self.state.clone();
        let ready = async {
            let ready = state.wait_for(|now| now.ready).await.is_ok();
            if ready {
                // It can tell a little later. An error says that it has ended, which takes nothing away.
                let _ = self.poller.ready().await;
            }
            ready
        };
        match timeout_at(deadline, ready).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotReadyError::Stopped),
            Err(_) => {
                let own = self.last_error().map(|error| error.to_string());
                Err(NotReadyError::Timeout {
                    timeout: limit,
                    last_error: own.or_else(|| self.poller.status().last_error),
                })
            }
        }
    }

    /// Waits until the evaluator has taken up what the poller has in memory now, or refused it. For tests, and for a
    /// poller in manual mode, after its [`refresh`](FlagDefinitionPoller::refresh). Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`last_error`](Self::last_error).
    pub async fn synced(&self) -> Result<(), UndecodableDefinitions> {
        let count = self.poller.install_count();
        // An error says that the poller has ended: nothing more will come.
        let _ = self.state.clone().wait_for(|now| now.seen >= count).await;
        self.last_error().map_or(Ok(()), Err)
    }

    /// Why the set in the poller's memory is not the one that is evaluated; `None` if it is. For health checks.
    pub fn last_error(&self) -> Option<UndecodableDefinitions> {
        self.state.borrow().error.clone()
    }

    /// The set that is evaluated now; `None` until the first one that could be decoded, and after a policy cleared it.
    pub fn definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.held.definitions()
    }

    /// The official evaluator. It stays in step for as long as the poller runs.
    pub fn evaluator(&self) -> LocalEvaluator {
        self.held.evaluator().clone()
    }

    /// Evaluates a flag and sends nothing. `None` if there is no such flag, or no definitions at all.
    ///
    /// # Errors
    ///
    /// [`InconclusiveMatchError`] if a property, a cohort or another flag that the conditions name is not known here, and in
    /// place of a panic of posthog-rs, which some dates make.
    pub fn evaluate(
        &self,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        self.held.evaluate(key, subject)
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
    /// A flag that the set does not list is reported as missing. Nothing is sent for an empty distinct id, while there are
    /// no definitions, and for an evaluation that fails.
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
        let (value, event) = self.held.evaluate_for_event(key, subject)?;
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
            .field("held", &self.held)
            .field("state", &*self.state.borrow())
            .finish()
    }
}
