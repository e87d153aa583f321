//! [`TemplateStore`]: a store for flagcache to copy. Replace [`Database`] with the client of your database.
//!
//! flagcache needs only its two methods: `Versioned` implements leases, fencing, restoring and everything else with
//! them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flagcache::registry::SecretString;
use flagcache::{
    Expected, OpenProvider, StoreUrl, Versioned, VersionedConfigError, VersionedProvider,
    flag_cache_store,
};

/// A connection to the database, which all pollers of a process share.
#[derive(Clone, Default)]
pub struct TemplateStore {
    // 3. The client of your database.
    database: Arc<Mutex<Database>>,
}

/// Takes the place of the server: a map whose entries have a version that changes with each write and is never used
/// again.
#[derive(Default)]
struct Database {
    rows: HashMap<String, (Vec<u8>, u64)>,
    last_version: u64,
}

/// 4. The two methods. The documentation of `VersionedStore` in flagcache states their contract.
#[flag_cache_store]
impl TemplateStore {
    /// Makes the client of the server at this address. Should not connect: the server may be down when a worker starts.
    pub fn new(host: &str, token: Option<SecretString>) -> Self {
        static SERVERS: Mutex<BTreeMap<String, TemplateStore>> = Mutex::new(BTreeMap::new());
        // A real client would send the token; this one accepts every client.
        drop(token);
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.entry(host.to_owned()).or_default().clone()
    }

    /// Returns the value of the key and its version; `None` if the key does not exist.
    async fn read(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, String> {
        let database = self.database.lock().map_err(|_| "a writer panicked")?;
        Ok(database.rows.get(key).cloned())
    }

    /// Compare-and-swap: writes only if the key has the expected version, or does not exist if it is expected to be
    /// absent, and returns the new version; returns `None` if the key was in another state. Must be atomic for all
    /// workers.
    async fn write(
        &self,
        key: &str,
        value: Vec<u8>,
        expected: Expected,
    ) -> Result<Option<u64>, String> {
        let mut database = self.database.lock().map_err(|_| "a writer panicked")?;
        let present = database.rows.get(key).map(|(_, version)| version.to_string());
        if present.as_deref() != expected.version().map(|version| version.as_str()) {
            return Ok(None);
        }
        database.last_version += 1;
        let version = database.last_version;
        database.rows.insert(key.to_owned(), (value, version));
        Ok(Some(version))
    }
}

/// 5. The options of a URL: `template://host?service=name`. The doc comments become their descriptions.
#[derive(OpenProvider)]
#[open_provider(schemes("template"))]
pub struct TemplateUrl {
    #[open_provider(url)]
    url: StoreUrl,
    /// The name of the service, which is part of the keys.
    service: String,
    /// The TTL of the lease: the time within which a killed leader is replaced.
    #[open_provider(default = "10s")]
    lease_ttl: Duration,
    /// The token for the server.
    token: Option<SecretString>,
}

impl TemplateUrl {
    fn open(self) -> Result<VersionedProvider, VersionedConfigError> {
        let store = TemplateStore::new(self.url.host().unwrap_or("localhost"), self.token);
        let store = Versioned::new(store, self.service)?.with_lease_ttl(self.lease_ttl)?;
        Ok(store.provider())
    }
}
