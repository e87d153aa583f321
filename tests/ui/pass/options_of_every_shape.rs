#![deny(warnings, missing_docs)]
//! A configuration, as a third party writes it.

use std::path::PathBuf;
use std::time::Duration;

use flagcache::registry::SecretString;
use flagcache::{MemoryProvider, MemoryStore, OpenProvider, ProviderRegistry, StoreUrl};

/// Every kind of field.
#[derive(Debug, OpenProvider)]
#[open_provider(schemes("etcd", "etcd+tls"))]
pub struct EtcdUrl {
    #[open_provider(url)]
    url: StoreUrl,
    /// What the keys begin with.
    pub prefix: String,
    #[open_provider(default = "10s")]
    ttl: Duration,
    #[open_provider(default = "2379")]
    port: u16,
    #[open_provider(default = "true")]
    watch: bool,
    limit: Option<u64>,
    r#type: Option<u32>,
    password: Option<SecretString>,
    #[open_provider(schemes("etcd+tls"))]
    ca: std::option::Option<PathBuf>,
}

impl EtcdUrl {
    fn open(self) -> Result<MemoryProvider, Box<dyn std::error::Error + Send + Sync>> {
        assert_eq!(self.url.host(), Some("host"));
        assert_eq!((self.ttl, self.port), (Duration::from_secs(10), 2379));
        assert!(self.watch && self.limit.is_none() && self.r#type == Some(3));
        assert!(!format!("{:?} {:?}", self.password, self.ca).contains("hunter2"));
        Ok(MemoryStore::new().provider())
    }
}

/// A configuration without options.
#[derive(OpenProvider)]
#[open_provider(schemes("nothing"), crate = flagcache)]
struct Nothing;

impl Nothing {
    fn open(self) -> Result<MemoryProvider, String> {
        Ok(MemoryStore::new().provider())
    }
}

fn main() {
    let registry = ProviderRegistry::default().register::<EtcdUrl>().unwrap();
    let registry = registry.register::<Nothing>().unwrap();
    registry.open("etcd+tls://host?prefix=a&type=3&password=hunter2&ca=/a").unwrap();
    registry.open("nothing:").unwrap();
    let url = StoreUrl::parse("etcd://host?prefix=a").unwrap();
    assert_eq!(EtcdUrl::try_from(&url).unwrap().prefix, "a");
}
