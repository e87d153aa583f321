#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Pages to read: nothing of it is compiled into a program.
#[cfg(any(doc, doctest))]
pub mod guide;

pub use flagcache_core::*;
#[cfg(all(feature = "macros", feature = "registry"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "macros", feature = "registry"))))]
pub use flagcache_derive::OpenProvider;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
pub use flagcache_derive::{flag_cache_provider, flag_cache_store};
#[cfg(feature = "evaluation")]
#[cfg_attr(docsrs, doc(cfg(feature = "evaluation")))]
pub use flagcache_evaluation::{
    FlagSubject, LocalEvaluation, LocalEvaluationBuilder, Overrides, TestFlags,
};
#[cfg(feature = "testing")]
pub use flagcache_providers::testing;
#[cfg(feature = "object-store")]
pub use flagcache_providers::{BucketConfigError, BucketStore, BucketStoreBuilder};
#[cfg(feature = "file")]
pub use flagcache_providers::{FileConfigError, FileProvider, FileStore, FileStoreBuilder};
#[cfg(feature = "memory")]
pub use flagcache_providers::{MemoryProvider, MemoryStore};
pub use flagcache_providers::{NotificationListener, ReadOnly, Tiered};
#[cfg(feature = "registry")]
pub use flagcache_providers::{OpenProvider, ProviderRegistry, RegistryError, StoreUrl, registry};
#[cfg(feature = "postgres")]
pub use flagcache_providers::{PostgresConfigError, PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use flagcache_providers::{RedisConfigError, RedisProvider, RedisStore, RedisStoreBuilder};
pub use flagcache_providers::{Versioned, VersionedConfigError, VersionedProvider};

// The macro's expansion names this crate; what it calls has the same path here as in the core.
#[doc(hidden)]
pub use flagcache_core::macro_support;
#[doc(hidden)]
pub use flagcache_core::{provider_method, store_method};
