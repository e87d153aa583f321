//! Following what is in memory, install by install.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::FlagDefinitionPoller;
use super::state::{Readiness, Shared};
use crate::FlagDefinitionCacheData;

/// Follows what a poller has in memory, without keeping the poller running.
///
/// Unlike a subscription it also sees an install that counts as no change: the same meaning in other words.
#[derive(Debug)]
pub(crate) struct Installs {
    shared: Arc<Shared>,
    readiness: watch::Receiver<Readiness>,
}

/// What is in memory, at one moment or a little later.
pub(crate) struct Installed {
    /// Counts the installs. The definitions are those of this one, or of a later one.
    pub(crate) count: u64,
    pub(crate) definitions: Option<FlagDefinitionCacheData>,
    /// The poller has ended: nothing comes after this.
    pub(crate) last: bool,
}

impl Installs {
    pub(crate) fn now(&mut self) -> Installed {
        let (count, last) = {
            let now = self.readiness.borrow_and_update();
            (now.installs, now.ending.is_some())
        };
        // Read last, so that they are never older than the count.
        Installed {
            count,
            definitions: self.shared.definitions(),
            last,
        }
    }

    /// Waits until there may be something new to see.
    pub(crate) async fn changed(&mut self) {
        // It cannot fail: the sender is in what this keeps.
        let _ = self.readiness.changed().await;
    }
}

impl FlagDefinitionPoller {
    pub(crate) fn installs(&self) -> Installs {
        Installs {
            shared: Arc::clone(&self.shared),
            readiness: self.shared.readiness(),
        }
    }

    pub(crate) fn install_count(&self) -> u64 {
        self.shared.readiness().borrow().installs
    }

    /// The runtime that the poller was started on.
    pub(crate) fn runtime(&self) -> &Handle {
        self.slot.runtime()
    }
}
