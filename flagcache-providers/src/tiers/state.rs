//! [`State`]: what a tiered provider knows about its worker.

use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

use flagcache_core::{PollerContext, PollerSchedule};

/// The poller's default, until a poller is attached.
const INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct State {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    context: Option<PollerContext>,
    /// The worker has definitions, as far as can be seen from here.
    warm: bool,
    /// The last decision was `false` and nothing was read since: the failure of such a read must be returned as an
    /// error.
    follows: bool,
}

impl State {
    pub(super) fn attach(&self, context: PollerContext) {
        self.lock().context = Some(context);
    }

    pub(super) fn context(&self) -> Option<PollerContext> {
        self.lock().context.clone()
    }

    pub(super) fn schedule(&self) -> PollerSchedule {
        self.context()
            .and_then(|context| context.schedule())
            .unwrap_or_else(|| PollerSchedule::new(INTERVAL))
    }

    pub(super) fn is_warm(&self) -> bool {
        self.lock().warm
    }

    pub(super) fn mark_warm(&self) {
        self.lock().warm = true;
    }

    pub(super) fn decided(&self, follows: bool) {
        self.lock().follows = follows;
    }

    /// Begins a read. Returns whether it is the first one after a decision of `false`.
    pub(super) fn begin_read(&self) -> bool {
        std::mem::take(&mut self.lock().follows)
    }

    // No code panics while it holds this lock, so the state behind a poisoned one is consistent.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}
