//! The contract that a store implements.

use async_trait::async_trait;

use crate::{FetchOutcome, FlagDefinitionCacheData, PollerContext, ProviderError};

/// A cache of flag definitions outside the process, shared by many workers.
///
/// One poller calls one provider. The poller promises an implementer that
///
/// - calls never overlap (a call that was cut at the provider timeout is dropped; a body marked `blocking` may still be running
///   on its own thread, and the next call can then start beside it),
/// - each is bounded by the poller's provider timeout (default 2 s) and fenced against panics,
/// - none comes after [`shutdown`](Self::shutdown), and `shutdown` comes exactly once.
///
/// An error never breaks flag evaluation. What each one causes stands at the method.
///
/// Write an implementation with `#[flag_cache_provider]` on an inherent `impl` block; by hand, put
/// [`#[async_trait]`](https://docs.rs/async-trait) on the implementation.
///
/// Futures must be cancel safe: at the provider timeout, and when the runtime goes down, they are dropped where they stand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a flag definition cache provider",
    label = "not a provider",
    note = "put `#[flag_cache_provider]` on an `impl {Self}` block that has the methods `should_fetch_flag_definitions`, `get_flag_definitions` and `on_flag_definitions_received`"
)]
#[async_trait]
pub trait FlagDefinitionCacheProvider: Send + Sync + 'static {
    /// *Decision*: should this worker fetch from the API now? Asked once per load, before any HTTP.
    ///
    /// `true` makes this worker the leader of the load: it fetches, and publishes what is new. `false` makes it read.
    /// An error means fetch, at most as often as the poller's fail-open interval.
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError>;

    /// *Read*: the copy that the store holds, `None` if it holds none. Called after a decision that was `false`.
    ///
    /// An error falls back to the API, at once for a worker without definitions, else under the fail-open limit.
    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError>;

    /// *Publish*: a leader received `data` from the API; store it for the others. Memory has it already.
    ///
    /// Also called by a worker that is not the leader when it had to fetch and found the store empty; a store that can
    /// tell should then only create, never overwrite. An error is logged, the flags stay in memory, and the leader's next
    /// load tries again.
    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError>;

    /// The poller ends: release locks and connections. Called exactly once, last, even if nothing was ever loaded.
    ///
    /// An error is logged and the shutdown goes on.
    async fn shutdown(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    /// What the store holds, for a leader that has no definitions yet: asked once before its first request, which is then
    /// conditional and costs 1 unit instead of 10. Also what the worker serves if that request fails.
    ///
    /// Doing nothing is right for a plain four-method provider. An error is logged and the request is unconditional.
    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        Ok(None)
    }

    /// The leader's load brought no new set. Keep the copy alive, put it back if it is gone, or step down if
    /// [`outcome.step_down_for()`](FetchOutcome::step_down_for) says so. Called once after each such load.
    ///
    /// Doing nothing is right for a plain four-method provider. An error is logged.
    async fn on_fetch_without_update(
        &self,
        outcome: FetchOutcome<'_>,
    ) -> Result<(), ProviderError> {
        let _ = outcome;
        Ok(())
    }

    /// Called once, when the poller starts, inside its runtime and before any other call. Must return at once.
    ///
    /// [`link.notify_changed()`](PollerContext::notify_changed) asks the poller for a load, from any thread;
    /// [`link.report(…)`](PollerContext::report) tells it what the store knows about the fleet.
    fn on_poller_attached(&self, link: PollerContext) {
        let _ = link;
    }
}
