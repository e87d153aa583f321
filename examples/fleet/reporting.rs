//! A worker's reports to its parent process: the writer, and decorators that report the calls between a poller, its store
//! and the API. They change nothing.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI8, Ordering};

use async_trait::async_trait;
use flagcache::{
    FetchError, FetchOutcome, FetchResponse, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    FlagDefinitionSource, KeyFingerprint, PollerContext, PostHogApi, ProjectFingerprint,
    ProviderError,
};

use crate::protocol::{Event, Report, UnixMicros};

/// Writes reports. Clones write to the same output.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    output: Arc<std::io::Stdout>,
}

impl Reporter {
    pub(crate) fn new() -> Self {
        Self {
            output: Arc::new(std::io::stdout()),
        }
    }

    /// Sends a report with the current time.
    pub(crate) fn report(&self, event: Event) {
        let report = Report {
            at: UnixMicros::now(),
            event,
        };
        let Ok(mut line) = serde_json::to_vec(&report) else {
            return;
        };
        line.push(b'\n');
        let mut output = self.output.lock();
        // An error means that the parent has ended. The end of the input then stops the worker.
        let _ = output.write_all(&line).and_then(|()| output.flush());
    }
}

/// A source whose answers are reported.
pub(crate) struct ReportingSource {
    api: PostHogApi,
    reporter: Reporter,
}

impl ReportingSource {
    pub(crate) fn new(api: PostHogApi, reporter: Reporter) -> Self {
        Self { api, reporter }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FlagDefinitionSource for ReportingSource {
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        let answer = self.api.fetch(etag).await;
        let (status, failure) = match &answer {
            Ok(FetchResponse::NotModified { .. }) => (Some(304), None),
            Ok(_) => (Some(200), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.reporter.report(Event::Fetched { status, failure });
        answer
    }

    fn can_fetch(&self) -> bool {
        self.api.can_fetch()
    }

    fn project(&self) -> Option<ProjectFingerprint> {
        self.api.project()
    }

    fn key_fingerprint(&self) -> Option<KeyFingerprint> {
        self.api.key_fingerprint()
    }

    async fn reload_key(&self) {
        self.api.reload_key().await;
    }
}

/// A provider whose decisions and publishes are reported.
pub(crate) struct ReportingProvider {
    provider: Box<dyn FlagDefinitionCacheProvider>,
    reporter: Reporter,
    /// -1 before the first decision, then 0 or 1.
    last_decision: AtomicI8,
}

impl ReportingProvider {
    pub(crate) fn new(provider: Box<dyn FlagDefinitionCacheProvider>, reporter: Reporter) -> Self {
        Self {
            provider,
            reporter,
            last_decision: AtomicI8::new(-1),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FlagDefinitionCacheProvider for ReportingProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        let leads = self.provider.should_fetch_flag_definitions().await?;
        if self.last_decision.swap(i8::from(leads), Ordering::Relaxed) != i8::from(leads) {
            self.reporter.report(Event::Decided { leads });
        }
        Ok(leads)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.provider.get_flag_definitions().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        // Before the call: a follower may see the new copy while the store still makes it safe on disk.
        self.reporter.report(Event::Publishing);
        self.provider.on_flag_definitions_received(data).await
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.provider.shutdown().await
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.provider.peek_flag_definitions().await
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        self.provider.on_fetch_without_update(outcome).await
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        self.provider.request_refresh().await
    }

    fn on_poller_attached(&self, context: PollerContext) {
        self.provider.on_poller_attached(context);
    }
}
