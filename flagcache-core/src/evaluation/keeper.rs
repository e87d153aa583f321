//! The task that keeps what is evaluated in step with the poller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::watch;

use super::UndecodableDefinitions;
use super::held::Held;
use crate::FlagDefinitionCacheData;
use crate::poller::observer::TARGET;
use crate::poller::{Installed, Installs};
use crate::text::escaped;

/// Up to this size a set is decoded on the spot: it takes about a millisecond.
const INLINE_LEN: usize = 64 * 1024;

/// How the evaluator is.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The poller's installs that were looked at.
    pub(super) seen: u64,
    /// There are definitions to evaluate.
    pub(super) ready: bool,
    /// Why the poller's set is not the one that is evaluated.
    pub(super) error: Option<UndecodableDefinitions>,
}

pub(super) struct Keeper {
    pub(super) installs: Installs,
    pub(super) held: Arc<Held>,
    /// Dropped with the keeper, which tells those who wait.
    pub(super) state: watch::Sender<State>,
    /// The set that could not be decoded, so that it is not tried again.
    pub(super) refused: Option<FlagDefinitionCacheData>,
}

impl Keeper {
    /// Runs until the poller ends. What is held then stays.
    pub(super) async fn run(mut self) {
        loop {
            let Installed {
                count,
                definitions,
                last,
            } = self.installs.now();
            let took = match definitions {
                Some(set) => self.take_up(set).await,
                None => {
                    self.held.clear();
                    self.refused = None;
                    Some(Ok(()))
                }
            };
            // The runtime is going down, and this task with it.
            let Some(took) = took else { return };
            self.tell(count, took.err());
            if last {
                return;
            }
            self.installs.changed().await;
        }
    }

    /// Puts a set in force, away from the runtime's threads if it is large; `None` if the runtime ended before that.
    async fn take_up(
        &mut self,
        set: FlagDefinitionCacheData,
    ) -> Option<Result<(), UndecodableDefinitions>> {
        if self
            .held
            .definitions()
            .is_some_and(|held| held.same_content(&set))
        {
            self.refused = None;
            return Some(Ok(()));
        }
        if self
            .refused
            .as_ref()
            .is_some_and(|refused| refused.same_content(&set))
        {
            return Some(self.state.borrow().error.clone().map_or(Ok(()), Err));
        }
        let (held, new) = (Arc::clone(&self.held), set.clone());
        // posthog-rs's code: whatever it does, this task goes on.
        let install = move || {
            catch_unwind(AssertUnwindSafe(|| held.install(new)))
                .unwrap_or_else(|_| Err(UndecodableDefinitions::panicked()))
        };
        let installed = if set.content_len() > INLINE_LEN {
            tokio::task::spawn_blocking(install).await.ok()?
        } else {
            install()
        };
        self.refused = installed.is_err().then_some(set);
        Some(installed)
    }

    /// Publishes the state, and logs when it begins to fail, fails in another place, or has recovered.
    fn tell(&self, seen: u64, error: Option<UndecodableDefinitions>) {
        let ready = self.held.definitions().is_some();
        let before = self
            .state
            .send_replace(State {
                seen,
                ready,
                error: error.clone(),
            })
            .error;
        let is_news = |error| {
            !before
                .as_ref()
                .is_some_and(|before| before.same_place(error))
        };
        match &error {
            Some(error) if is_news(error) => tracing::warn!(
                name: "flagcache.evaluation_failed",
                target: TARGET,
                flag = error.flag_key().map(escaped).as_deref(),
                error = %error,
                "flag definitions cannot be evaluated; those before them still are"
            ),
            None if before.is_some() && ready => tracing::info!(
                name: "flagcache.evaluation_recovered",
                target: TARGET,
                "flag definitions can be evaluated again"
            ),
            _ => {}
        }
    }
}
