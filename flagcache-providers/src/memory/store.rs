//! The store that the pollers of one process share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// How long a lead lasts at least without a decision of its leader.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);

    /// An empty store with the [default lease](Self::DEFAULT_LEASE).
    pub fn new() -> Self {
        Self::with_lease(Self::DEFAULT_LEASE)
    }

    /// An empty store whose lead lasts at least `lease` without a decision of its leader. A poller with ticks gets a
    /// longer one if it needs it: twice its poll interval and its backoff. Zero means that only pollers with ticks keep
    /// the lead from one load to the next.
    pub fn with_lease(lease: Duration) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(lease))),
        }
    }

    /// A provider for one poller. Each call gives one with an identity of its own.
    pub fn provider(&self) -> MemoryProvider {
        MemoryProvider::register(self.clone())
    }

    /// Only short, panic-free code runs under this lock, and never an await; a poisoned state is still whole.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
