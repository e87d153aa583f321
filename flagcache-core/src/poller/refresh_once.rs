//! One load, for jobs that run and end.

use std::time::Duration;

use thiserror::Error;

use crate::{
    FlagDefinitionCacheData, FlagDefinitionCacheProvider, FlagDefinitionPoller,
    FlagDefinitionPollerBuilder, FlagDefinitionSource, RefreshError, Role, ShutdownError,
    StartError,
};

/// What [`refresh_once`] did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefreshedOnce {
    /// What became of the store's copy.
    pub outcome: RefreshOutcome,
    /// The definitions in force now.
    pub definitions: Option<FlagDefinitionCacheData>,
    /// Billing units spent: 10 for a 200, 1 for a 304, 0 if another worker leads.
    pub units_spent: u64,
}

/// What became of the store's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// A new set was fetched and handed to the store.
    Published,
    /// The API confirmed the stored copy.
    Unchanged,
    /// Another worker leads, and keeps the copy current.
    LedByAnother,
}

/// Brings a store's copy up to date once, then frees the lead: the writer half of a fleet of
/// [readers](crate::Role::Reader). For a cron job, a deployment step, a serverless timer.
///
/// One load by the rules of a [`FlagDefinitionPoller`], then the provider's `shutdown`. With a bundled store the request is
/// conditional by the stored ETag: 1 unit when nothing has changed. If another worker leads, nothing is fetched. Must be
/// called inside a tokio runtime. Cancel safe; a dropped call ends in the background, and frees the lead there.
///
/// # Errors
///
/// [`RefreshOnceError`] says which step failed. The provider's `shutdown` is called all the same, and what the store held
/// is not lost.
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
/// A CronJob writes and holds the secret key; the workers know the store and nothing else. Their pollers have no source, so
/// they send no request, and a [`max_staleness`](crate::FlagDefinitionPollerBuilder::max_staleness) of several runs.
///
/// ```yaml
/// apiVersion: batch/v1
/// kind: CronJob
/// metadata:
///   name: flag-definitions
/// spec:
///   schedule: "* * * * *"
///   concurrencyPolicy: Forbid   # a second writer would find the store led, and do nothing
///   jobTemplate:
///     spec:
///       backoffLimit: 0         # the next run is the next try
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

/// A poller for one load.
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

/// What its load, which met no failure, has done.
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

/// Why [`refresh_once`] did not bring the copy up to date.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefreshOnceError {
    /// The source has no secret key, so it cannot fetch.
    #[error("a writer needs a secret key; set POSTHOG_SECRET_KEY or give the source one")]
    NoSecretKey,
    /// The load could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The API or the store failed. A set that was fetched but not stored is fetched again by the next run.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The copy is up to date, but the lead was not freed: it frees itself.
    #[error(transparent)]
    Shutdown(#[from] ShutdownError),
}
