//! [`DefinitionsChanges`]: a subscription to changes, for plain threads.

use std::thread::ThreadId;
use std::time::Duration;

use thiserror::Error;

use super::BlockingError;
use super::poller::must_not_block;
use super::wait::wait_timeout;
use crate::DefinitionsChange;

/// A subscription to the changes of one poller, from [`subscribe`](super::FlagDefinitionPoller::subscribe).
///
/// One event per change. A subscriber that falls 64 changes behind gets one event that merges what it missed.
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

    /// The next change within `timeout`. Zero only takes a change that is already there.
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
    /// [`NoChangeError`] if there is none. After `Timeout` the next call may return one; no change is lost in between.
    pub fn next_within(
        &mut self,
        timeout: Duration,
    ) -> Result<DefinitionsChange, BlockingError<NoChangeError>> {
        if must_not_block(self.thread_of_poller) {
            return Err(BlockingError::InsideRuntime);
        }
        match wait_timeout(timeout, self.changes.next()) {
            Some(Some(change)) => Ok(change),
            Some(None) => Err(NoChangeError::Stopped.into()),
            None => Err(NoChangeError::Timeout { timeout }.into()),
        }
    }
}

/// Why there is no change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoChangeError {
    /// The timeout passed. No change is lost.
    #[error("no change of the flag definitions within {timeout:?}")]
    Timeout {
        /// The timeout.
        timeout: Duration,
    },
    /// The poller has ended.
    #[error("the poller was shut down")]
    Stopped,
}
