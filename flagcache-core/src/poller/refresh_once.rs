//! [`refresh_once`]: one load, for scheduled jobs.

use std::time::Duration;

use thiserror::Error;

use crate::{
    FlagDefinitionCacheData, FlagDefinitionCacheProvider, FlagDefinitionPoller,
    FlagDefinitionPollerBuilder, FlagDefinitionSource, RefreshError, Role, ShutdownError,
    StartError,
};

/// The result of [`refresh_once`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefreshedOnce {
    /// What happened to the stored copy.
    pub outcome: RefreshOutcome,
    /// The current definitions.
    pub definitions: Option<FlagDefinitionCacheData>,
    /// Billing units spent: 10 for a 200, 1 for a 304, 0 if another worker leads.
    pub units_spent: u64,
}

/// What happened to the stored copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// New definitions were fetched and published.
    Published,
    /// The API confirmed the stored copy.
    Unchanged,
    /// Another worker leads, and keeps the stored copy current.
    LedByAnother,
}

/// Refreshes a store's copy once, then releases leadership: the writer for a fleet of [readers](crate::Role::Reader).
/// For a cron job, a deployment step, a serverless timer.
///
/// One load by the rules of a [`FlagDefinitionPoller`], then the provider's `shutdown`. With a bundled store the
/// request is conditional by the stored ETag: 1 unit when nothing has changed. If another worker leads, nothing is
/// fetched. Must be called inside a tokio runtime. Cancel safe: a dropped call completes in the background and releases
/// leadership.
///
/// # Errors
///
/// [`RefreshOnceError`] names the step that failed. The provider's `shutdown` is called in any case, and the stored copy
/// is kept.
///
/// ```no_run
/// # async fn job(
/// #     source: impl flagcache_core::FlagDefinitionSource,
/// #     provider: impl flagcache_core::FlagDefinitionCacheProvider,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let refreshed = flagcache_core::refresh_once(source, provider).await?;
/// println!("{:?} for {} units", refreshed.outcome, refreshed.units_spent);
/// # Ok(())
/// # }
/// ```
///
/// # In Kubernetes
///
/// A CronJob writes and holds the secret key; the workers only know the store. Their pollers have no source, so they
/// send no requests, and a [`max_staleness`](crate::FlagDefinitionPollerBuilder::max_staleness) of several runs.
///
/// ```yaml
/// apiVersion: batch/v1
/// kind: CronJob
/// metadata:
///   name: flag-definitions
/// spec:
///   schedule: "* * * * *"
///   concurrencyPolicy: Forbid   # a second writer would not get leadership, and do nothing
///   jobTemplate:
///     spec:
///       backoffLimit: 0         # the next run retries
///       activeDeadlineSeconds: 50
///       template:
///         spec:
///           restartPolicy: Never
///           containers:
///             - name: writer
///               image: example.com/checkout/flag-writer   # calls `refresh_once` and ends
///               env:
///                 - name: FLAGCACHE_URL
///                   value: redis://cache:6379?service=checkout
///                 - name: POSTHOG_PROJECT_KEY
///                   value: phc_…
///                 - name: POSTHOG_SECRET_KEY
///                   valueFrom:
///                     secretKeyRef: { name: posthog, key: secret-key }
/// ---
/// apiVersion: apps/v1
/// kind: Deployment
/// metadata:
///   name: checkout
/// spec:
///   replicas: 40
///   selector:
///     matchLabels: { app: checkout }
///   template:
///     metadata:
///       labels: { app: checkout }
///     spec:
///       containers:
///         - name: checkout
///           image: example.com/checkout/server           # a poller with `ReadOnly` over the store
///           env:
///             - name: FLAGCACHE_URL
///               value: redis://cache:6379?service=checkout
/// ```
pub async fn refresh_once(
    source: impl FlagDefinitionSource,
    provider: impl FlagDefinitionCacheProvider,
) -> Result<RefreshedOnce, RefreshOnceError> {
    let poller = configure(FlagDefinitionPoller::builder(), source, provider)?.start()?;
    let refreshed = poller.refresh().await;
    let ended = poller.shutdown().await;
    refreshed?;
    ended?;
    Ok(outcome(&poller))
}

/// A manual poller for one load.
pub(crate) fn configure<Handle>(
    builder: FlagDefinitionPollerBuilder<Handle>,
    source: impl FlagDefinitionSource,
    provider: impl FlagDefinitionCacheProvider,
) -> Result<FlagDefinitionPollerBuilder<Handle>, RefreshOnceError> {
    if !source.can_fetch() {
        return Err(RefreshOnceError::NoSecretKey);
    }
    let builder = builder
        .source(source)
        .flag_definition_cache_provider(provider);
    Ok(builder.cold_start_wait(Duration::ZERO).manual())
}

/// The result of a load without errors.
pub(crate) fn outcome(poller: &FlagDefinitionPoller) -> RefreshedOnce {
    let status = poller.status();
    let outcome = if status.counters.full_responses > 0 {
        RefreshOutcome::Published
    } else if status.role == Role::Leader {
        RefreshOutcome::Unchanged
    } else {
        RefreshOutcome::LedByAnother
    };
    RefreshedOnce {
        outcome,
        definitions: poller.definitions(),
        units_spent: status.counters.units_spent,
    }
}

/// Why [`refresh_once`] failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RefreshOnceError {
    /// The source has no secret key, so it cannot fetch.
    #[error("a writer needs a secret key; set POSTHOG_SECRET_KEY or give the source one")]
    NoSecretKey,
    /// The load could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The API or the store failed. Definitions that were fetched but not stored are fetched again by the next run.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The stored copy is current, but leadership was not released; it ends with its TTL.
    #[error(transparent)]
    Shutdown(#[from] ShutdownError),
}
