//! The object store keeps the rules, however its server names versions. Each worker has a store of its own, as another process
//! would.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};

use crate::objects::damage;
use crate::recorder::{Recorder, Versions};
use crate::worker::SERVICE;

const LEASE_TTL: Duration = Duration::from_millis(1_500);

struct Fresh(Recorder);

#[async_trait]
impl TestStore for Fresh {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        Arc::new(
            self.0
                .store()
                .lease_ttl(LEASE_TTL)
                .build()
                .unwrap()
                .provider(),
        )
    }

    /// The lease is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        damage(&self.0, "", SERVICE, copy).await;
    }
}

mod hash {
    use super::*;

    fn fresh() -> Fresh {
        Fresh(Recorder::with_versions(Versions::Hash))
    }

    flagcache_providers::conformance!(
        fresh,
        elects,
        lease,
        create_only,
        fenced,
        stored_copy,
        restores,
        steps_down,
        confirms,
        reports_lease,
        quota_mark,
        damage
    );
}

mod generation {
    use super::*;

    fn fresh() -> Fresh {
        Fresh(Recorder::with_versions(Versions::Generation))
    }

    flagcache_providers::conformance!(
        fresh,
        elects,
        lease,
        create_only,
        fenced,
        stored_copy,
        restores,
        steps_down,
        confirms,
        reports_lease,
        quota_mark,
        damage
    );
}
