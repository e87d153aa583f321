//! [`refresh_once`]: one load, for scheduled jobs without tokio.

use super::wait::in_a_task;
use super::{BlockingError, FlagDefinitionPoller};
use crate::poller::refresh_once;
use crate::{FlagDefinitionCacheProvider, FlagDefinitionSource, RefreshOnceError, RefreshedOnce};

/// Refreshes a store's copy once, then releases leadership: [`refresh_once`](crate::refresh_once) for a job without
/// tokio.
///
/// # Errors
///
/// As the asynchronous function. Inside a task of a runtime it fails before anything is started.
///
/// ```no_run
/// # fn job(
/// #     source: impl flagcache_core::FlagDefinitionSource,
/// #     provider: impl flagcache_core::FlagDefinitionCacheProvider,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let refreshed = flagcache_core::blocking::refresh_once(source, provider)?;
/// println!("{:?} for {} units", refreshed.outcome, refreshed.units_spent);
/// # Ok(())
/// # }
/// ```
pub fn refresh_once(
    source: impl FlagDefinitionSource,
    provider: impl FlagDefinitionCacheProvider,
) -> Result<RefreshedOnce, BlockingError<RefreshOnceError>> {
    if in_a_task() {
        return Err(BlockingError::InsideRuntime);
    }
    let poller = refresh_once::configure(FlagDefinitionPoller::builder(), source, provider)?
        .start()
        .map_err(RefreshOnceError::from)?;
    let (refreshed, ended) = (poller.refresh(), poller.shutdown());
    refreshed.map_err(|error| error.map(RefreshOnceError::Refresh))?;
    ended.map_err(|error| error.map(RefreshOnceError::Shutdown))?;
    Ok(refresh_once::outcome(poller.as_async()))
}
