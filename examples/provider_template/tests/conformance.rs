//! Runs the conformance kit on the store, and opens it by a URL.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use flagcache::testing::conformance::{POLL_INTERVAL, TestStore};
use flagcache::{FlagDefinitionCacheProvider, ProviderRegistry, Versioned};
use provider_template::{TemplateStore, TemplateUrl};

const LEASE_TTL: Duration = Duration::from_secs(2);

/// A fresh, empty database for one test.
struct Fresh(TemplateStore);

impl Fresh {
    fn store() -> Self {
        // 6. For a server: start one, or use a database, a table or a prefix that no other test uses.
        Self(TemplateStore::default())
    }
}

#[async_trait::async_trait]
impl TestStore for Fresh {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let store = Versioned::new(self.0.clone(), "kit").expect("a name for keys");
        Arc::new(store.with_lease_ttl(LEASE_TTL).expect("a lease").provider())
    }

    /// The lease is renewed until two polls were missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }
}

mod rules {
    // 7. Add `push` if the store implements `watch`; add `damage` and `restores`, and `outage`, if `TestStore` above
    //    implements them.
    flagcache::testing::conformance!(
        super::Fresh::store,
        elects,
        lease,
        create_only,
        fenced,
        stored_copy,
        steps_down,
        confirms,
        reports_lease,
        quota_mark,
        fleet_failure,
        carries_requests
    );
}

#[test]
fn a_url_opens_it() -> Result<(), Box<dyn Error>> {
    let registry = ProviderRegistry::empty().register::<TemplateUrl>()?;
    registry.open("template://db?service=checkout&lease_ttl=5s&token=hunter2")?;
    let error = registry.open("template://db?token=hunter2").err();
    assert_eq!(
        error.ok_or("opened without a service")?.to_string(),
        "template URLs require the option `service`; add service=… after the question mark"
    );
    Ok(())
}
