//! [`MemoryStore`]: the store that the pollers of one process share.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use super::MemoryProvider;
use super::state::State;

/// One copy of the flag definitions, shared by the pollers of one process. Cheap to clone; see the
/// [module](crate::memory) for what it guarantees.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// The minimum duration of a lease.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);

    /// An empty store with the [default lease](Self::DEFAULT_LEASE).
    pub fn new() -> Self {
        Self::with_lease(Self::DEFAULT_LEASE)
    }

    /// An empty store whose leases last at least `lease`. A poller with ticks gets a longer one if it needs it: twice
    /// its poll interval and its backoff. With zero, only pollers with ticks keep leadership from one load to the next.
    pub fn with_lease(lease: Duration) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(lease))),
        }
    }

    /// Returns a provider for a single poller, with its own identity.
    pub fn provider(&self) -> MemoryProvider {
        MemoryProvider::register(self.clone())
    }

    /// Only short, panic-free code runs under this lock, and no await, so the state behind a poisoned lock is
    /// consistent.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
