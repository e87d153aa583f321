//! [`DefinitionsWatch`]: follows every replacement of the definitions in memory.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::FlagDefinitionPoller;
use super::state::{Readiness, Shared};
use crate::FlagDefinitionCacheData;

/// Follows the definitions that a poller has in memory, without keeping the poller running. For evaluators, which must
/// always use the current ones. From [`FlagDefinitionPoller::watch_definitions`].
///
/// A subscription reports only changes of meaning. A watch also sees definitions that mean the same in another
/// notation, such as `18.0` in place of `18`, and definitions that a policy cleared.
#[derive(Debug)]
pub struct DefinitionsWatch {
    shared: Arc<Shared>,
    readiness: watch::Receiver<Readiness>,
}

/// The definitions in memory at one moment, from [`DefinitionsWatch::current`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchedDefinitions {
    /// Counts every change of the definitions in memory. They are those of this count, or of a later one.
    pub count: u64,
    /// The definitions; `None` before the first load, and after a policy cleared them.
    pub definitions: Option<FlagDefinitionCacheData>,
    /// The poller has ended: no change follows.
    pub is_last: bool,
}

impl DefinitionsWatch {
    /// The definitions in memory now, or slightly later.
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

    /// Waits until there may be definitions newer than the last [`current`](Self::current). Cancel safe.
    pub async fn changed(&mut self) {
        // Cannot fail: `self` keeps the sender alive.
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

    /// How many times the definitions in memory have changed: the current [`count`](WatchedDefinitions::count).
    pub fn install_count(&self) -> u64 {
        self.shared.readiness().borrow().installs
    }

    /// The runtime of the poller, for tasks beside it.
    pub fn runtime(&self) -> &Handle {
        self.slot.runtime()
    }
}
