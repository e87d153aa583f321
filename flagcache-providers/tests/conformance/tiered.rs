//! A store with another behind it keeps the rules of the one in front. Also: providers behind a pointer and a wrapper.

use std::sync::Arc;
use std::time::Duration;

use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::testing::FaultInjector;
use flagcache_providers::testing::conformance::TestStore;
use flagcache_providers::{MemoryStore, Tiered};

const LEASE: Duration = Duration::from_secs(1);

struct TwoTiers {
    fleet: MemoryStore,
    machine: MemoryStore,
}

impl TwoTiers {
    fn fresh() -> Self {
        Self {
            fleet: MemoryStore::with_lease(LEASE),
            machine: MemoryStore::with_lease(LEASE),
        }
    }
}

impl TestStore for TwoTiers {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        // Behind every pointer and wrapper there is: none may lose a method.
        let shared = Arc::new(self.fleet.provider());
        let boxed: Box<dyn FlagDefinitionCacheProvider> = Box::new(FaultInjector::over(shared));
        Arc::new(Tiered::new(boxed).fallback(self.machine.provider()))
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }
}

flagcache_providers::conformance!(
    TwoTiers::fresh,
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
