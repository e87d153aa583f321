//! A stand-in for a poller.

use std::sync::Arc;
use std::time::Duration;

use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, FleetStatus,
    KeyFingerprint, PollerContextOwner, PollerSchedule, ProviderError, ProviderErrorKind,
};
use tokio::time::{Instant, sleep, timeout};

use super::TestStore;
use super::difference::difference;
use crate::testing::ProviderMethod;

/// The poll interval of the kit's workers, which their store finds in its `PollerContext`.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// One worker: a provider, attached as a poller attaches it and called as a poller calls it. A call that fails or takes
/// longer than the provider timeout fails the test.
#[derive(Clone)]
pub(super) struct Worker {
    provider: Arc<dyn FlagDefinitionCacheProvider>,
    poller: Arc<PollerContextOwner>,
}

impl Worker {
    pub(super) fn join(store: &dyn TestStore) -> Self {
        let provider = store.provider();
        let poller = Arc::new(PollerContextOwner::new(PollerSchedule::new(POLL_INTERVAL)));
        provider.on_poller_attached(poller.context());
        Self { provider, poller }
    }

    /// The same worker, asking the API with another key.
    pub(super) fn with_key(self, key: KeyFingerprint) -> Self {
        let mut schedule = PollerSchedule::new(POLL_INTERVAL);
        schedule.key = Some(key);
        self.poller.set_schedule(schedule);
        self
    }

    /// The bare provider, for calls that are to be cut.
    pub(super) fn provider(&self) -> &dyn FlagDefinitionCacheProvider {
        &*self.provider
    }

    /// Asks for the decision.
    pub(super) async fn leads(&self) -> bool {
        sound(
            ProviderMethod::ShouldFetch,
            self.provider.should_fetch_flag_definitions(),
        )
        .await
    }

    /// Waits until blocking calls that were cut, and still run, leave room for new ones.
    pub(super) async fn recovers(&self) {
        let wait = async {
            let is_busy = |error: &ProviderError| error.kind() == ProviderErrorKind::Busy;
            while self
                .provider
                .should_fetch_flag_definitions()
                .await
                .is_err_and(|error| is_busy(&error))
            {
                sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        };
        sound(ProviderMethod::ShouldFetch, wait).await;
    }

    pub(super) async fn reads(&self) -> Option<FlagDefinitionCacheData> {
        sound(ProviderMethod::Get, self.provider.get_flag_definitions()).await
    }

    pub(super) async fn tries_to_read(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        in_time(ProviderMethod::Get, self.provider.get_flag_definitions()).await
    }

    pub(super) async fn publishes(&self, data: &FlagDefinitionCacheData) {
        sound(
            ProviderMethod::Received,
            self.provider.on_flag_definitions_received(data),
        )
        .await;
    }

    /// A publish that the store may refuse, by an error or in silence.
    pub(super) async fn tries_to_publish(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        in_time(
            ProviderMethod::Received,
            self.provider.on_flag_definitions_received(data),
        )
        .await
    }

    /// [`publishes`](Self::publishes) when the blocking calls that were cut have ended: the machine may be slow, and until
    /// then the provider is busy.
    pub(super) async fn publishes_once_free(&self, data: &FlagDefinitionCacheData) {
        let publish = async {
            loop {
                match self.provider.on_flag_definitions_received(data).await {
                    Err(error) if error.kind() == ProviderErrorKind::Busy => {
                        sleep(Duration::from_millis(1)).await;
                    }
                    published => return published,
                }
            }
        };
        sound(ProviderMethod::Received, publish).await;
    }

    /// A load as a leader has it: the decision first, whatever it says, then the publish.
    pub(super) async fn loads(&self, data: &FlagDefinitionCacheData) {
        self.leads().await;
        self.publishes(data).await;
    }

    /// A load as a follower has it: the decision, then the read.
    pub(super) async fn follows(&self) {
        self.leads().await;
        self.reads().await;
    }

    pub(super) async fn ends_without_update(&self, outcome: FetchOutcome) {
        sound(
            ProviderMethod::FetchWithoutUpdate,
            self.provider.on_fetch_without_update(outcome),
        )
        .await;
    }

    pub(super) async fn stored(&self) -> Option<FlagDefinitionCacheData> {
        sound(ProviderMethod::Peek, self.provider.peek_flag_definitions()).await
    }

    pub(super) async fn tries_stored(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        in_time(ProviderMethod::Peek, self.provider.peek_flag_definitions()).await
    }

    pub(super) async fn shuts_down(&self) {
        sound(ProviderMethod::Shutdown, self.provider.shutdown()).await;
    }

    /// Asks for the decision and takes the report that the store made with it.
    pub(super) async fn status(&self) -> FleetStatus {
        self.leads().await;
        let report = self.poller.take_report();
        assert!(
            report.is_some(),
            "the store reported nothing with a decision"
        );
        report.unwrap_or_default()
    }

    /// Requests a refresh, which the store must carry.
    pub(super) async fn requests_refresh(&self) {
        let carried = sound(
            ProviderMethod::RequestRefresh,
            self.provider.request_refresh(),
        )
        .await;
        assert!(carried, "the store says that it carries no requests");
    }

    /// Waits for a notification or a request for a refresh.
    pub(super) async fn is_woken(&self) {
        tokio::select! {
            () = self.poller.changed() => {}
            () = self.poller.refresh_requested() => {}
        }
    }

    pub(super) async fn tries_to_decide(&self) -> Result<bool, ProviderError> {
        in_time(
            ProviderMethod::ShouldFetch,
            self.provider.should_fetch_flag_definitions(),
        )
        .await
    }

    pub(super) async fn tries_to_shut_down(&self) -> Result<(), ProviderError> {
        in_time(ProviderMethod::Shutdown, self.provider.shutdown()).await
    }

    pub(super) async fn tries_to_end_without_update(
        &self,
        outcome: FetchOutcome,
    ) -> Result<(), ProviderError> {
        in_time(
            ProviderMethod::FetchWithoutUpdate,
            self.provider.on_fetch_without_update(outcome),
        )
        .await
    }

    /// Waits until no notification came for a while, at most for `limit`.
    pub(super) async fn is_quiet_for(&self, quiet: Duration, limit: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < limit && self.is_notified_within(quiet).await {}
    }

    /// Whether a notification comes within `limit`.
    pub(super) async fn is_notified_within(&self, limit: Duration) -> bool {
        timeout(limit, self.poller.changed()).await.is_ok()
    }

    /// Asks until the decision is `true`; how long that took, or `None` after `limit`.
    pub(super) async fn leads_within(&self, limit: Duration) -> Option<Duration> {
        let begin = Instant::now();
        loop {
            if self.leads().await {
                return Some(begin.elapsed());
            }
            if begin.elapsed() > limit {
                return None;
            }
            sleep((limit / 50).clamp(Duration::from_millis(5), Duration::from_millis(100))).await;
        }
    }

    /// Fails the test unless this worker reads exactly `data`, metadata included.
    #[track_caller]
    pub(super) fn assert_reads(
        &self,
        data: &FlagDefinitionCacheData,
        when: &str,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let copy = self.reads().await;
            let difference = difference(copy.as_ref(), data);
            assert!(
                difference.is_none(),
                "{when}: {} (expected at {caller})",
                difference.unwrap_or_default()
            );
        }
    }
}

/// Starts `work` on a task of its own, so that what several workers do truly happens at once.
pub(super) fn at_once<T, F>(
    worker: Worker,
    work: impl FnOnce(Worker) -> F,
) -> impl Future<Output = T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let task = tokio::spawn(work(worker));
    async {
        match task.await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// How much longer than its lease a lead may last: for a slow machine.
pub(super) fn lease_and_slack(store: &dyn TestStore) -> Duration {
    store.lease_time() + (store.lease_time() / 2).max(Duration::from_millis(500))
}

async fn in_time<T>(
    method: ProviderMethod,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    let limit = PollerSchedule::new(POLL_INTERVAL).provider_timeout;
    let answer = timeout(limit, call).await;
    assert!(answer.is_ok(), "{method} did not answer within {limit:?}");
    #[expect(clippy::unwrap_used, reason = "seen above")]
    answer.unwrap()
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
async fn sound<T>(
    method: ProviderMethod,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> T {
    match in_time(method, call).await {
        Ok(value) => value,
        Err(error) => panic!("{method} failed: {}", described(&error)),
    }
}

/// An error and what caused it, in one line.
fn described(error: &ProviderError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
