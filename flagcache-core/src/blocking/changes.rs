//! Changes, as they come.

use std::thread::ThreadId;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::poller::must_not_block;
use super::wait::wait_at_most;
use crate::DefinitionsChange;
use crate::duration::clamped;
use crate::poller::BLOCKS_A_TASK;

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

    /// The next change, if it comes within `limit`. A limit of zero takes what is there already.
    ///
    /// # Errors
    ///
    /// [`NoChangeError`] says why there is none; after `Timeout` the next call may have one, and nothing is missed in between.
    pub fn next_within(&mut self, limit: Duration) -> Result<DefinitionsChange, NoChangeError> {
        if must_not_block(self.thread_of_poller) {
            return Err(NoChangeError::InsideRuntime);
        }
        match wait_at_most(limit, self.changes.next()) {
            Some(Some(change)) => Ok(change),
            Some(None) => Err(NoChangeError::Stopped),
            None => Err(NoChangeError::Timeout { limit }),
        }
    }

    /// The changes that come within `limit` from now: an iterator that waits for each, and ends with the limit or with the
    /// poller. With a limit of zero it takes what is there already.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn watch(mut changes: flagcache_core::blocking::DefinitionsChanges) -> Result<(), Box<dyn std::error::Error>> {
    /// for change in changes.within(Duration::from_secs(60))? {
    ///     println!("{:?}", change.diff);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoChangeError::InsideRuntime`], there.
    pub fn within(&mut self, limit: Duration) -> Result<Within<'_>, NoChangeError> {
        if must_not_block(self.thread_of_poller) {
            return Err(NoChangeError::InsideRuntime);
        }
        Ok(Within {
            changes: self,
            deadline: Instant::now() + clamped(limit),
        })
    }
}

/// The changes up to a moment; from [`DefinitionsChanges::within`]. Carried into a task of a runtime, it ends there at once.
#[derive(Debug)]
#[must_use = "an iterator waits for nothing until it is asked for an item"]
pub struct Within<'a> {
    changes: &'a mut DefinitionsChanges,
    deadline: Instant,
}

impl Iterator for Within<'_> {
    type Item = DefinitionsChange;

    fn next(&mut self) -> Option<DefinitionsChange> {
        self.changes
            .next_within(self.deadline.saturating_duration_since(Instant::now()))
            .ok()
    }
}

/// There is no change to give.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoChangeError {
    /// The limit passed.
    #[error("no change of the flag definitions within {limit:?}")]
    Timeout {
        /// The limit that was given.
        limit: Duration,
    },
    /// The poller has ended, so there will be none.
    #[error("the poller was shut down")]
    Stopped,
    /// A wait would block a task of a tokio runtime.
    #[error("{BLOCKS_A_TASK}")]
    InsideRuntime,
}
