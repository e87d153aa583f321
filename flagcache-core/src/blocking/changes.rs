//! Changes, as they come.

use std::thread::ThreadId;
use std::time::Duration;

use thiserror::Error;

use super::BlockingError;
use super::poller::must_not_block;
use super::wait::wait_at_most;
use crate::DefinitionsChange;

/// A subscription to the changes of one poller, from [`subscribe`](super::FlagDefinitionPoller::subscribe).
///
/// One event per applied change. A subscriber that falls 64 changes behind gets one event that sums up what it missed.
#[derive(Debug)]
pub struct DefinitionsChanges {
    changes: crate::DefinitionsChanges,
    thread_of_poller: ThreadId,
}

impl DefinitionsChanges {
    pub(super) fn new(changes: crate::DefinitionsChanges, thread_of_poller: ThreadId) -> Self {
        Self {
            changes,
            thread_of_poller,
        }
    }

    /// The next change, if it comes within `timeout`. Zero takes what is there already.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn watch(mut changes: flagcache_core::blocking::DefinitionsChanges) {
    /// // Ends with the poller.
    /// while let Ok(change) = changes.next_within(Duration::MAX) {
    ///     println!("{:?}", change.diff);
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoChangeError`] says why there is none. After `Timeout` the next call may have one, and nothing is missed in
    /// between.
    pub fn next_within(
        &mut self,
        timeout: Duration,
    ) -> Result<DefinitionsChange, BlockingError<NoChangeError>> {
        if must_not_block(self.thread_of_poller) {
            return Err(BlockingError::InsideRuntime);
        }
        match wait_at_most(timeout, self.changes.next()) {
            Some(Some(change)) => Ok(change),
            Some(None) => Err(NoChangeError::Stopped.into()),
            None => Err(NoChangeError::Timeout { timeout }.into()),
        }
    }
}

/// There is no change to give.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoChangeError {
    /// The timeout passed. The next call misses nothing.
    #[error("no change of the flag definitions within {timeout:?}")]
    Timeout {
        /// The timeout that was given.
        timeout: Duration,
    },
    /// The poller has ended, so there will be none.
    #[error("the poller was shut down")]
    Stopped,
}
