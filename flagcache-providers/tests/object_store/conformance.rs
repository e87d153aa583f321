//! The object store keeps the rules over emulators of S3 and Azure. Each worker has a store, and so connections, of its own, as
//! another process would; each test has a prefix of its own in one bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};
use flagcache_providers::testing::{Connections, Outage, TcpProxy};

use crate::emulator::{Emulator, Kind};
use crate::objects::damage;
use crate::worker::SERVICE;

const LEASE_TTL: Duration = Duration::from_secs(2);

struct Bucket {
    emulator: Arc<Emulator>,
    prefix: String,
    proxy: TcpProxy,
}

impl Bucket {
    fn fresh(kind: Kind) -> Self {
        static PREFIXES: AtomicU64 = AtomicU64::new(0);
        let emulator = Emulator::shared(kind);
        let prefix = format!("kit-{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
        let proxy = TcpProxy::start(([127, 0, 0, 1], emulator.port()).into()).unwrap();
        Self {
            emulator,
            prefix,
            proxy,
        }
    }
}

#[async_trait]
impl TestStore for Bucket {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let port = self.proxy.addr().port();
        let store = self.emulator.store_through(&self.prefix, port);
        Arc::new(store.lease_ttl(LEASE_TTL).build().unwrap().provider())
    }

    /// The lease is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        damage(&*self.emulator.objects(), &self.prefix, SERVICE, copy).await;
    }

    async fn outage(&self, outage: Outage) {
        self.proxy.set(outage);
    }

    fn connections(&self) -> Connections {
        self.proxy.connections()
    }
}

mod s3 {
    use super::{Bucket, Kind};

    impl Bucket {
        fn on_s3() -> Self {
            Self::fresh(Kind::Moto)
        }
    }

    flagcache_providers::conformance!(
        Bucket::on_s3,
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
        fleet_failure,
        carries_requests,
        damage,
        outage
    );
}

mod azure {
    use super::{Bucket, Kind};

    impl Bucket {
        fn on_azure() -> Self {
            Self::fresh(Kind::Azurite)
        }
    }

    flagcache_providers::conformance!(
        Bucket::on_azure,
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
        fleet_failure,
        carries_requests,
        damage,
        outage
    );
}
