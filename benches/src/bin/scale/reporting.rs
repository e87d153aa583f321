//! Reports of a worker process to the process that started it, and a provider that sends them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use flagcache_benches::Provider;
use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError,
};

use crate::protocol::{Moment, Report};

/// Writes one line to the standard output at once. An error means that the other process has ended; the end of the standard
/// input then stops the worker.
pub(crate) fn send(report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap();
    line.push(b'\n');
    let _ = std::io::stdout().lock().write_all(&line);
}

/// Reports when its poller leads and publishes, and forwards each call unchanged.
pub(crate) struct ReportingProvider {
    pub(crate) provider: Provider,
    pub(crate) poller: usize,
    pub(crate) leads: Arc<AtomicBool>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FlagDefinitionCacheProvider for ReportingProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        let leads = self.provider.should_fetch_flag_definitions().await?;
        if !self.leads.swap(leads, Ordering::Relaxed) && leads {
            send(&Report::Leads {
                poller: self.poller,
                at: Moment::now(),
            });
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
        let etag = data.etag().map(str::to_owned);
        send(&Report::Publishes {
            poller: self.poller,
            etag,
            at: Moment::now(),
        });
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
