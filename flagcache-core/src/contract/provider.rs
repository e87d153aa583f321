//! [`FlagDefinitionCacheProvider`]: the contract that a store implements.

use async_trait::async_trait;

use crate::{FetchOutcome, FlagDefinitionCacheData, PollerContext, ProviderError};

/// A cache of flag definitions outside the process, shared by many workers.
///
/// One poller calls one provider. The poller guarantees that
///
/// - calls never overlap, except [`request_refresh`](Self::request_refresh) and a `blocking` body that is still running
///   on its thread after its call timed out, when the next call starts,
/// - each call has a timeout (the poller's provider timeout, default 2 s) and panic isolation,
/// - [`shutdown`](Self::shutdown) is called exactly once, and last.
///
/// An error never breaks flag evaluation. Each method documents what its errors cause.
///
/// Write an implementation with `#[flag_cache_provider]` on an inherent `impl` block; by hand, put
/// [`#[async_trait]`](https://docs.rs/async-trait) on the implementation.
///
/// Futures must be cancel safe: the poller drops them at the provider timeout, and when the runtime shuts down.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a flag definition cache provider",
    label = "not a provider",
    note = "put `#[flag_cache_provider]` on an `impl {Self}` block that has the methods `should_fetch_flag_definitions`, `get_flag_definitions` and `on_flag_definitions_received`"
)]
#[async_trait]
pub trait FlagDefinitionCacheProvider: Send + Sync + 'static {
    /// *Decision*: should this worker fetch from the API now? Called once per load, before any HTTP request.
    ///
    /// `true` makes this worker the leader of the load: it fetches, and publishes what is new. `false` makes it read.
    /// On an error the worker fetches, at most once per fail-open interval.
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError>;

    /// *Read*: the stored copy, `None` if there is none. Called after a decision of `false`.
    ///
    /// On an error the worker fetches from the API: at once if it has no definitions, otherwise at most once per
    /// fail-open interval.
    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError>;

    /// *Publish*: stores `data`, which this worker just fetched and already serves, for the other workers.
    ///
    /// Usually called by the leader; also by a worker that is not the leader, if it had to fetch and found the store
    /// empty. A store that can distinguish the two lets the latter create a copy but not overwrite one. An error is
    /// logged, the definitions stay in memory, and the leader's next load tries again.
    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError>;

    /// Releases locks and connections. Called exactly once, last, even if nothing was ever loaded.
    ///
    /// An error is logged and the poller's shutdown continues.
    async fn shutdown(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    /// The stored copy, for a leader that has no definitions yet. Called once before its first request, which then is
    /// conditional and costs 1 unit instead of 10. If that request fails, the worker serves this copy.
    ///
    /// The default returns `None`. An error is logged, and the request is unconditional.
    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        Ok(None)
    }

    /// The leader's load brought no new definitions. Called once after each such load, to renew the stored copy, to
    /// restore it if it is lost, and to step down if [`outcome.step_down_for()`](FetchOutcome::step_down_for) is set.
    ///
    /// The default does nothing. An error is logged.
    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        let _ = outcome;
        Ok(())
    }

    /// *Request*: passes the request for a refresh, which a user made through this worker's handle, to the leader.
    /// Returns `true` if the store carries it there: it is recorded for the leader's next decision, which reports it
    /// by [`FleetStatus::refresh_requested`](crate::FleetStatus::refresh_requested), and a leader in another poller is
    /// woken by [`PollerContext::notify_refresh_requested`]. The poller itself wakes if it leads.
    ///
    /// The default returns `false`: this worker then asks the API itself. An error is returned to the user.
    ///
    /// Unlike the other methods, it may run while another call is in progress; two calls of it never overlap, they
    /// begin at most ten times a second, and the provider timeout applies to each. The shutdown cancels it.
    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        Ok(false)
    }

    /// Called once when the poller starts, inside its runtime and before any other call. Must return immediately.
    ///
    /// [`context.notify_changed()`](PollerContext::notify_changed) requests a load, from any thread;
    /// [`context.report(…)`](PollerContext::report) reports the store's [`FleetStatus`](crate::FleetStatus) to the poller.
    fn on_poller_attached(&self, context: PollerContext) {
        let _ = context;
    }
}
