//! The task that follows the poller and the file of overrides.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::{DefinitionsWatch, FlagDefinitionCacheData, WatchedDefinitions};
use posthog_rs::FlagValue;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::overrides;
use crate::state::EvaluatorState;

/// The target of all records.
const TARGET: &str = "flagcache";

/// Up to this size definitions are compiled on the spot: it takes about a millisecond.
const INLINE_LEN: usize = 64 * 1024;

/// How often the file of overrides is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// How many flags one record names.
const NAMED: usize = 20;

/// How far the evaluator is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The poller's count that was taken up.
    pub(crate) count: u64,
    /// There are definitions to evaluate.
    pub(crate) ready: bool,
}

pub(crate) struct SyncTask {
    pub(crate) watch: DefinitionsWatch,
    pub(crate) state: Arc<EvaluatorState>,
    /// Dropped with the task, which wakes those who wait.
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) file: BTreeMap<String, FlagValue>,
    /// Why the file cannot be read, as far as it was logged.
    pub(crate) file_error: Option<String>,
}

impl SyncTask {
    /// Runs until the poller ends. What is evaluated then stays.
    pub(crate) async fn run(mut self) {
        let mut interval = tokio::time::interval(FILE_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_new_file = self.read_file().await;
            let WatchedDefinitions {
                count,
                definitions,
                is_last,
                ..
            } = self.watch.current();
            // The runtime is going down, and this task with it.
            if self.install(definitions, is_new_file).await.is_none() {
                return;
            }
            let ready = self.state.current().definitions.is_some();
            self.progress.send_replace(Progress { count, ready });
            if is_last {
                return;
            }
            if self.state.overrides.watched_file().is_some() {
                tokio::select! {
                    () = self.watch.changed() => {}
                    _ = interval.tick() => {}
                }
            } else {
                self.watch.changed().await;
            }
        }
    }

    /// Whether it holds something else than before.
    async fn read_file(&mut self) -> bool {
        let Some(path) = self.state.overrides.watched_file().map(Path::to_owned) else {
            return false;
        };
        let read = tokio::task::spawn_blocking(move || overrides::read(&path)).await;
        match read {
            Ok(Ok(file)) => {
                self.file_error = None;
                let is_new = file != self.file;
                self.file = file;
                is_new
            }
            Ok(Err(error)) => {
                if self.file_error.as_ref() != Some(&error) {
                    tracing::warn!(
                        name: "flagcache.overrides_unreadable",
                        target: TARGET,
                        file = ?self.state.overrides.watched_file(),
                        error,
                        "the file of flag overrides cannot be read; what was read before stays in force"
                    );
                }
                self.file_error = Some(error);
                false
            }
            Err(_) => false,
        }
    }

    /// Puts definitions in force, away from the runtime's threads if they are large; `None` if the runtime ended before.
    async fn install(
        &self,
        definitions: Option<FlagDefinitionCacheData>,
        is_new_file: bool,
    ) -> Option<()> {
        let before = self.state.current();
        let is_same = match (&before.definitions, &definitions) {
            (Some(before), Some(now)) => before.same_content(now),
            (None, None) => true,
            _ => false,
        };
        if is_same && !is_new_file {
            return Some(());
        }
        let is_large = definitions.as_ref().is_some_and(|definitions| {
            let flags: usize = definitions.flags().map(|flag| flag.json().len()).sum();
            flags + definitions.cohorts().as_str().len() > INLINE_LEN
        });
        let (state, file) = (Arc::clone(&self.state), self.file.clone());
        // The task goes on whatever happens in it.
        let install = move || catch_unwind(AssertUnwindSafe(|| state.install(definitions, &file)));
        let installed = if is_large {
            tokio::task::spawn_blocking(install).await.ok()?
        } else {
            install()
        };
        if installed.is_err() {
            tracing::error!(
                name: "flagcache.evaluation_failed",
                target: TARGET,
                "taking up flag definitions panicked; those before are still evaluated"
            );
        }
        log_changes(&self.state, &before.undecidable, &before.overrides);
        Some(())
    }
}

/// One record for each change of what is undecidable, and of what is overridden.
pub(crate) fn log_changes(
    state: &EvaluatorState,
    undecidable: &[(String, String)],
    overrides: &std::collections::HashMap<String, FlagValue>,
) {
    let now = state.current();
    if **now.undecidable != *undecidable {
        meter::undecidable(now.undecidable.len());
        if now.undecidable.is_empty() {
            tracing::info!(
                name: "flagcache.evaluation_recovered",
                target: TARGET,
                "all flags can be evaluated here again"
            );
        } else {
            // Keys are a user's texts: shown escaped.
            let named: Vec<_> = now.undecidable.iter().take(NAMED).collect();
            tracing::warn!(
                name: "flagcache.undecidable_flags",
                target: TARGET,
                count = now.undecidable.len(),
                flags = ?named,
                "some flags cannot be decided here for some subjects or for all; PostHog can be asked"
            );
        }
    }
    if now.overrides != *overrides {
        let mut keys: Vec<_> = now.overrides.keys().collect();
        keys.sort_unstable();
        keys.truncate(NAMED);
        tracing::warn!(
            name: "flagcache.overrides",
            target: TARGET,
            count = now.overrides.len(),
            flags = ?keys,
            "flags are overridden in this process"
        );
    }
}

#[cfg(feature = "metrics")]
mod meter {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is an f64; 2^53 flags are out of reach"
    )]
    pub(super) fn undecidable(count: usize) {
        metrics::gauge!("flagcache_evaluation_undecidable_flags").set(count as f64);
    }
}

#[cfg(not(feature = "metrics"))]
mod meter {
    pub(super) fn undecidable(_: usize) {}
}
