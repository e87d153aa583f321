//! Following what is in memory, install by install.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::FlagDefinitionPoller;
use super::state::{Readiness, Shared};
use crate::FlagDefinitionCacheData;

/// Follows the definitions that a poller has in memory, without keeping the poller running. For evaluators, which must
/// never be behind: from [`FlagDefinitionPoller::watch_definitions`].
///
/// A subscription reports changes of meaning. This also sees definitions that mean the same in other words, such as `18.0`
/// in place of `18`, and definitions that a policy cleared.
#[derive(Debug)]
pub struct DefinitionsWatch {
    shared: Arc<Shared>,
    readiness: watch::Receiver<Readiness>,
}

/// The definitions in memory at one moment, from [`DefinitionsWatch::current`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchedDefinitions {
    /// Counts every change of what is in memory. The definitions are those of this count, or of a later one.
    pub count: u64,
    /// The definitions; `None` before the first load, and after a policy cleared them.
    pub definitions: Option<FlagDefinitionCacheData>,
    /// The poller has ended: nothing comes after this.
    pub is_last: bool,
}

impl DefinitionsWatch {
    /// What is in memory now, or a little later.
    pub fn current(&mut self) -> WatchedDefinitions {
        let (count, is_last) = {
            let now = self.readiness.borrow_and_update();
            (now.installs, now.ending.is_some())
        };
        // Read last, so that they are never older than the count.
        WatchedDefinitions {
            count,
            definitions: self.shared.definitions(),
            is_last,
        }
    }

    /// Waits until there may be something newer than the last [`current`](Self::current). Cancel safe.
    pub async fn changed(&mut self) {
        // It cannot fail: the sender is in what this keeps.
        let _ = self.readiness.changed().await;
    }
}

impl FlagDefinitionPoller {
    /// Follows the definitions in memory from now on, without keeping the poller running.
    pub fn watch_definitions(&self) -> DefinitionsWatch {
        DefinitionsWatch {
            shared: Arc::clone(&self.shared),
            readiness: self.shared.readiness(),
        }
    }

    /// How often the definitions in memory changed so far: the present [`count`](WatchedDefinitions::count).
    pub fn install_count(&self) -> u64 {
        self.shared.readiness().borrow().installs
    }

    /// The runtime that the poller was started on, for tasks that live beside it.
    pub fn runtime(&self) -> &Handle {
        self.slot.runtime()
    }
}
