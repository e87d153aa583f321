//! [`SyncTask`]: the background task that installs the poller's definitions and the override file.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::{DefinitionsWatch, FlagDefinitionCacheData, WatchedDefinitions};
use posthog_rs::FlagValue;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::evaluator_state::EvaluatorState;
use crate::overrides;

/// The target of all log events.
const TARGET: &str = "flagcache";

/// Larger definitions are compiled on the blocking pool. Compiling definitions of this size takes about a millisecond.
const COMPILE_INLINE: usize = 64 * 1024;

/// How often the override file is read.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of flags in one log event.
const MAX_LOGGED_FLAGS: usize = 20;

/// The progress of the evaluator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The poller's install count whose definitions are evaluated.
    pub(crate) count: u64,
    /// Whether there are definitions to evaluate.
    pub(crate) ready: bool,
}

/// Follows a poller and an override file, and keeps an [`EvaluatorState`] current.
pub(crate) struct SyncTask {
    pub(crate) watch: DefinitionsWatch,
    pub(crate) state: Arc<EvaluatorState>,
    /// Dropped with the task, which wakes all waiters.
    pub(crate) progress: watch::Sender<Progress>,
    /// The overrides last read from the file.
    pub(crate) file_overrides: BTreeMap<String, FlagValue>,
    /// The last read error that was logged.
    pub(crate) file_error: Option<String>,
}

impl SyncTask {
    /// Runs until the poller ends. The last definitions remain installed.
    pub(crate) async fn run(mut self) {
        let mut interval = tokio::time::interval(FILE_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let file_changed = self.read_file().await;
            let WatchedDefinitions {
                count,
                definitions,
                is_last,
                ..
            } = self.watch.current();
            // The runtime is shutting down.
            if self.install(definitions, file_changed).await.is_none() {
                return;
            }
            let ready = self.state.current().definitions().is_some();
            self.progress.send_replace(Progress { count, ready });
            if is_last {
                return;
            }
            if self.state.overrides.file_path().is_some() {
                tokio::select! {
                    () = self.watch.changed() => {}
                    _ = interval.tick() => {}
                }
            } else {
                self.watch.changed().await;
            }
        }
    }

    /// Reads the override file. Returns whether its overrides changed.
    async fn read_file(&mut self) -> bool {
        let Some(path) = self.state.overrides.file_path().map(Path::to_owned) else {
            return false;
        };
        let read = tokio::task::spawn_blocking(move || overrides::read(&path)).await;
        match read {
            Ok(Ok(file)) => {
                self.file_error = None;
                let changed = file != self.file_overrides;
                self.file_overrides = file;
                changed
            }
            Ok(Err(error)) => {
                if self.file_error.as_ref() != Some(&error) {
                    tracing::warn!(
                        name: "flagcache.overrides_unreadable",
                        target: TARGET,
                        file = ?self.state.overrides.file_path(),
                        error,
                        "cannot read the override file; its previous overrides remain in use"
                    );
                }
                self.file_error = Some(error);
                false
            }
            Err(_) => false,
        }
    }

    /// Installs definitions, on the blocking pool if they are large. `None` if the runtime shut down meanwhile.
    async fn install(
        &self,
        definitions: Option<FlagDefinitionCacheData>,
        file_changed: bool,
    ) -> Option<()> {
        let before = self.state.current();
        let is_same = match (before.definitions(), &definitions) {
            (Some(before), Some(now)) => before.same_content(now),
            (None, None) => true,
            _ => false,
        };
        if is_same && !file_changed {
            return Some(());
        }
        let is_large = definitions.as_ref().is_some_and(|definitions| {
            let flags: usize = definitions.flags().map(|flag| flag.json().len()).sum();
            flags + definitions.cohorts().as_str().len() > COMPILE_INLINE
        });
        let (state, file) = (Arc::clone(&self.state), self.file_overrides.clone());
        // A panic must not end the task.
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
                "installing flag definitions panicked; the previous definitions remain in use"
            );
        }
        log_changes(&self.state, &before.undecidable, &before.overrides);
        Some(())
    }
}

/// Logs one event if the undecidable flags changed, and one if the overrides changed.
pub(crate) fn log_changes(
    state: &EvaluatorState,
    undecidable: &[(String, String)],
    overrides: &HashMap<String, FlagValue>,
) {
    let now = state.current();
    if **now.undecidable != *undecidable {
        meter::undecidable(now.undecidable.len());
        if now.undecidable.is_empty() {
            tracing::info!(
                name: "flagcache.evaluation_recovered",
                target: TARGET,
                "all flags can be evaluated locally again"
            );
        } else {
            // Keys are user input: logged escaped.
            let logged: Vec<_> = now.undecidable.iter().take(MAX_LOGGED_FLAGS).collect();
            tracing::warn!(
                name: "flagcache.undecidable_flags",
                target: TARGET,
                count = now.undecidable.len(),
                flags = ?logged,
                "some flags cannot be evaluated locally for some or all subjects"
            );
        }
    }
    if now.overrides != *overrides {
        let mut keys: Vec<_> = now.overrides.keys().collect();
        keys.sort_unstable();
        keys.truncate(MAX_LOGGED_FLAGS);
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
        reason = "a gauge is an f64, which is exact up to 2^53"
    )]
    pub(super) fn undecidable(count: usize) {
        metrics::gauge!("flagcache_evaluation_undecidable_flags").set(count as f64);
    }
}

#[cfg(not(feature = "metrics"))]
mod meter {
    pub(super) fn undecidable(_: usize) {}
}
