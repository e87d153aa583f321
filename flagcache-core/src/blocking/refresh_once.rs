//! One load, for jobs that run and end.

use super::FlagDefinitionPoller;
use super::wait::in_a_task;
use crate::poller::refresh_once;
use crate::{
    FlagDefinitionCacheProvider, FlagDefinitionSource, RefreshError, RefreshOnceError,
    RefreshedOnce,
};

/// Brings a store's copy up to date once, then frees the lead: [`refresh_once`](crate::refresh_once) for a job without tokio.
///
/// # Errors
///
/// As there; and in a task of a runtime it is refused, before anything is started.
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
) -> Result<RefreshedOnce, RefreshOnceError> {
    if in_a_task() {
        return Err(RefreshError::InsideRuntime.into());
    }
    let poller =
        refresh_once::configure(FlagDefinitionPoller::builder(), source, provider)?.start()?;
    let refreshed = poller.refresh();
    let ended = poller.shutdown();
    refreshed?;
    ended?;
    Ok(refresh_once::outcome(poller.as_async()))
}
