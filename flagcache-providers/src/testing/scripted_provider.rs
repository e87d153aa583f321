//! A provider with scripted answers.

use parking_lot::Mutex;
use std::sync::Arc;

use async_trait::async_trait;
use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError,
};

use super::calls::{Call, CallLog, violations};
use super::fault::injected_panic;
use super::{ProviderMethod, Script};

/// A provider whose answer to each call is scripted, and which remembers every call.
///
/// Untouched it is a leader on an empty store that takes everything: the decision is `true`, reads give `None`, the rest
/// gives `Ok`. Each method has a [`Script`]: a queue of answers, then a standing one. Clones share all of it, so a test
/// hands one to a poller and keeps another.
///
/// ```
/// use std::time::Duration;
/// use flagcache_core::{FlagDefinitionCacheProvider, ProviderErrorKind};
/// use flagcache_providers::testing::{Answer, Fault, ProviderMethod, ScriptedProvider};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = ScriptedProvider::new();
/// provider.decision().then(Answer::value(true).after(Duration::from_secs(1))).then_fault(Fault::Hang).always(false);
/// provider.read().always_fault(Fault::Error(ProviderErrorKind::Unavailable));
///
/// assert!(provider.should_fetch_flag_definitions().await?);
/// assert!(provider.get_flag_definitions().await.is_err());
/// assert_eq!(provider.count(ProviderMethod::ShouldFetch), 1);
/// assert!(provider.violations().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedProvider {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    decision: Script<bool>,
    read: Script<Option<FlagDefinitionCacheData>>,
    publish: Script<()>,
    shutdown: Script<()>,
    stored: Script<Option<FlagDefinitionCacheData>>,
    fetch_without_update: Script<()>,
    request_refresh: Script<bool>,
    attach: Mutex<Attach>,
    log: CallLog,
}

#[derive(Debug, Default)]
struct Attach {
    panics: bool,
    context: Option<PollerContext>,
}

impl ScriptedProvider {
    /// A leader on an empty store.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                decision: Script::new(true),
                read: Script::new(None),
                publish: Script::new(()),
                shutdown: Script::new(()),
                stored: Script::new(None),
                fetch_without_update: Script::new(()),
                request_refresh: Script::new(true),
                attach: Mutex::default(),
                log: CallLog::new(),
            }),
        }
    }

    /// The answers of `should_fetch_flag_definitions`; default `true`.
    pub fn decision(&self) -> &Script<bool> {
        &self.inner.decision
    }

    /// The answers of `get_flag_definitions`; default `None`.
    pub fn read(&self) -> &Script<Option<FlagDefinitionCacheData>> {
        &self.inner.read
    }

    /// The answers of `on_flag_definitions_received`.
    pub fn publish(&self) -> &Script<()> {
        &self.inner.publish
    }

    /// The answers of `shutdown`.
    pub fn at_shutdown(&self) -> &Script<()> {
        &self.inner.shutdown
    }

    /// The answers of `peek_flag_definitions`; default `None`.
    pub fn stored(&self) -> &Script<Option<FlagDefinitionCacheData>> {
        &self.inner.stored
    }

    /// The answers of `on_fetch_without_update`.
    pub fn fetch_without_update(&self) -> &Script<()> {
        &self.inner.fetch_without_update
    }

    /// The answers of `request_refresh`; default `true`.
    pub fn refresh_request(&self) -> &Script<bool> {
        &self.inner.request_refresh
    }

    /// Makes `on_poller_attached` panic, once it has kept the context.
    pub fn panic_when_attached(&self) {
        self.with_attach(|attach| attach.panics = true);
    }

    /// The context of the poller that this provider was attached to last.
    pub fn context(&self) -> Option<PollerContext> {
        self.with_attach(|attach| attach.context.clone())
    }

    /// Every call so far, in order of beginning.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.log.snapshot()
    }

    /// The methods called so far, in order of beginning.
    pub fn methods(&self) -> Vec<ProviderMethod> {
        self.inner
            .log
            .snapshot()
            .iter()
            .map(|call| call.method)
            .collect()
    }

    /// How often `method` was called.
    pub fn count(&self, method: ProviderMethod) -> usize {
        self.inner
            .log
            .snapshot()
            .iter()
            .filter(|call| call.method == method)
            .count()
    }

    /// What was published, in order.
    pub fn published(&self) -> Vec<FlagDefinitionCacheData> {
        let calls = self.inner.log.snapshot().into_iter();
        calls
            .filter(|call| call.method == ProviderMethod::Received)
            .filter_map(|call| call.data)
            .collect()
    }

    /// Waits until `method` was called `times` times in all (begun, not ended). Cancel safe; put a timeout around it.
    pub async fn called(&self, method: ProviderMethod, times: usize) {
        self.inner
            .log
            .wait_until(|calls| calls.iter().filter(|call| call.method == method).count() >= times)
            .await;
    }

    /// Waits until `times` calls of `method` have ended, in whatever way. Cancel safe; put a timeout around it.
    pub async fn ended(&self, method: ProviderMethod, times: usize) {
        let done = |call: &&Call| call.method == method && call.ended.is_some();
        self.inner
            .log
            .wait_until(|calls| calls.iter().filter(done).count() >= times)
            .await;
    }

    /// Which of the poller's promises were broken so far: a call that overlaps another, one after `shutdown`, an
    /// `on_poller_attached` that was not the first call. Empty if none was.
    pub fn violations(&self) -> Vec<String> {
        violations(&self.inner.log.snapshot())
    }

    /// Fails the test if one of the poller's promises was broken.
    ///
    /// # Panics
    /// If [`violations`](Self::violations) is not empty.
    #[track_caller]
    pub fn assert_contract_kept(&self) {
        let violations = self.violations();
        assert!(
            violations.is_empty(),
            "the poller broke the provider contract: {violations:#?}"
        );
    }

    fn with_attach<T>(&self, access: impl FnOnce(&mut Attach) -> T) -> T {
        access(&mut self.inner.attach.lock())
    }
}

impl Default for ScriptedProvider {
    fn default() -> Self {
        Self::new()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl FlagDefinitionCacheProvider for ScriptedProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        let running = self.inner.log.begin(ProviderMethod::ShouldFetch);
        running.end(self.inner.decision.play().await)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let running = self.inner.log.begin(ProviderMethod::Get);
        running.end(self.inner.read.play().await)
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        let running = self
            .inner
            .log
            .begin(Call::with_data(ProviderMethod::Received, data));
        running.end(self.inner.publish.play().await)
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        let running = self.inner.log.begin(ProviderMethod::Shutdown);
        running.end(self.inner.shutdown.play().await)
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let running = self.inner.log.begin(ProviderMethod::Peek);
        running.end(self.inner.stored.play().await)
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        let running = self.inner.log.begin(Call::with_outcome(
            ProviderMethod::FetchWithoutUpdate,
            outcome,
        ));
        running.end(self.inner.fetch_without_update.play().await)
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        let running = self.inner.log.begin(ProviderMethod::RequestRefresh);
        running.end(self.inner.request_refresh.play().await)
    }

    fn on_poller_attached(&self, context: PollerContext) {
        let running = self.inner.log.begin(ProviderMethod::Attached);
        let panics = self.with_attach(|attach| {
            attach.context = Some(context);
            attach.panics
        });
        if panics {
            injected_panic();
        }
        let _: Result<(), ProviderError> = running.end(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flagcache_core::{FetchErrorKind, PollerContextOwner, PollerSchedule, ProviderErrorKind};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::testing::{Answer, CallEnd, Fault, Latch};

    fn data() -> FlagDefinitionCacheData {
        FlagDefinitionCacheData::from_json(r#"{"flags":[]}"#).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_come_in_order_then_the_standing_one() {
        let provider = ScriptedProvider::new();
        provider
            .decision()
            .then(false)
            .then_fault(Fault::Error(ProviderErrorKind::Busy))
            .always(true);
        assert!(!provider.should_fetch_flag_definitions().await.unwrap());
        let error = provider.should_fetch_flag_definitions().await.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Busy);
        assert!(provider.should_fetch_flag_definitions().await.unwrap());
        assert!(provider.should_fetch_flag_definitions().await.unwrap());
        provider.read().then(Some(data())).then(None);
        assert!(provider.get_flag_definitions().await.unwrap().is_some());
        assert!(provider.get_flag_definitions().await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_takes_its_time_and_a_hung_one_never_comes() {
        let provider = ScriptedProvider::new();
        let delay = Duration::from_secs(3);
        provider.decision().always(false);
        provider
            .decision()
            .then(Answer::value(true).after(delay))
            .then_fault(Fault::Slow(delay))
            .then_fault(Fault::Hang);
        let begin = Instant::now();
        assert!(provider.should_fetch_flag_definitions().await.unwrap());
        assert_eq!(begin.elapsed(), delay);
        assert!(
            !provider.should_fetch_flag_definitions().await.unwrap(),
            "slow gives the standing value"
        );
        assert_eq!(begin.elapsed(), delay * 2);
        assert!(
            timeout(
                Duration::from_secs(3600),
                provider.should_fetch_flag_definitions()
            )
            .await
            .is_err()
        );
        assert_eq!(provider.calls()[2].ended.unwrap().1, CallEnd::Dropped);
    }

    #[tokio::test]
    async fn a_gate_holds_a_call_for_as_long_as_the_test_wants() {
        let provider = ScriptedProvider::new();
        let gate = Latch::new();
        provider.publish().then(Answer::value(()).once_open(&gate));
        let call = tokio::spawn({
            let provider = provider.clone();
            async move { provider.on_flag_definitions_received(&data()).await }
        });
        provider.called(ProviderMethod::Received, 1).await;
        assert!(provider.calls()[0].ended.is_none());
        gate.open();
        provider.ended(ProviderMethod::Received, 1).await;
        call.await.unwrap().unwrap();
        assert_eq!(provider.published().len(), 1);
    }

    #[tokio::test]
    async fn a_panic_is_recorded_as_one() {
        let provider = ScriptedProvider::new();
        provider.at_shutdown().then_fault(Fault::Panic);
        let call = tokio::spawn({
            let provider = provider.clone();
            async move { provider.shutdown().await }
        });
        assert!(call.await.unwrap_err().is_panic());
        assert_eq!(provider.calls()[0].ended.unwrap().1, CallEnd::Panicked);
    }

    #[tokio::test(start_paused = true)]
    async fn broken_promises_of_the_poller_are_told() {
        let provider = ScriptedProvider::new();
        provider
            .decision()
            .then_fault(Fault::Slow(Duration::from_secs(1)));
        let (decision, read) = tokio::join!(
            provider.should_fetch_flag_definitions(),
            provider.get_flag_definitions()
        );
        assert!(decision.unwrap() && read.unwrap().is_none());
        assert_eq!(
            provider.violations().len(),
            1,
            "{:?}",
            provider.violations()
        );
        provider.shutdown().await.unwrap();
        provider.get_flag_definitions().await.unwrap();
        provider.shutdown().await.unwrap();
        assert_eq!(
            provider.violations().len(),
            3,
            "{:?}",
            provider.violations()
        );
    }

    #[tokio::test]
    async fn the_link_and_what_a_load_brought_are_kept() {
        let provider = ScriptedProvider::new();
        let owner = PollerContextOwner::new(PollerSchedule::new(Duration::from_secs(30)));
        provider.on_poller_attached(owner.context());
        assert!(provider.context().unwrap().is_connected());
        let outcome = FetchOutcome::failed(FetchErrorKind::Connect, None);
        let outcome = outcome.with_step_down_for(Some(Duration::from_secs(9)));
        provider.on_fetch_without_update(outcome).await.unwrap();
        let calls = provider.calls();
        assert_eq!(calls[1].failure, Some(FetchErrorKind::Connect));
        assert_eq!(calls[1].step_down_for, Some(Duration::from_secs(9)));
        provider.assert_contract_kept();
    }
}
