//! The memory store keeps the rules.

use std::sync::Arc;
use std::time::Duration;

use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::MemoryStore;
use flagcache_providers::testing::conformance::TestStore;

struct Memory(MemoryStore);

impl Memory {
    fn fresh() -> Self {
        Self(MemoryStore::with_lease(Self::LEASE))
    }

    const LEASE: Duration = Duration::from_secs(1);
}

impl TestStore for Memory {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        Arc::new(self.0.provider())
    }

    fn lease_time(&self) -> Duration {
        Self::LEASE
    }
}

flagcache_providers::conformance!(
    Memory::fresh,
    elects,
    lease,
    create_only,
    fenced,
    stored_copy,
    restores,
    steps_down,
    push,
    confirms,
    reports_lease,
    quota_mark,
    fleet_failure,
    carries_requests
);
