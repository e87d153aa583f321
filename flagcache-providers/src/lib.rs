//! The stores that [flagcache](https://docs.rs/flagcache) bundles, each behind its feature, and the conformance kit for
//! provider authors.
//!
//! | module | what it is | shared by | feature |
//! |---|---|---|---|
//! | [`memory`] | [`MemoryStore`] | the pollers of one process | `memory` |
//! | [`file`](mod@file) | [`FileStore`] | the processes of one machine | `file` |
//! | [`redis`] | [`RedisStore`] | a fleet of machines | `redis` |
//! | [`registry`] | [`ProviderRegistry`]: a store by its URL | | `registry` |
//! | `postgres` | `PostgresStore` | a fleet of machines | `postgres` |
//! | `object_store` | `BucketStore` | a fleet of machines | `object-store` |
//! | [`versioned`] | [`Versioned`]: a whole store over any with compare-and-swap | as far as that reaches | |
//! | [`tiers`] | [`Tiered`] and [`ReadOnly`]: stores that compose | | |
//! | [`testing`] | the conformance kit, scripted fakes, a fault injector, an API stub; not API-stable | | `testing` |
//!
//! To write a store on a server, use [`NotificationListener`] too.
//!
//! All stores have the same structure. A *store* is cheap to clone, serves many pollers, and holds one decoded copy for
//! all of them; its `provider()` returns a provider with its own identity for each poller.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub mod file;
mod listener;
#[cfg(feature = "memory")]
#[cfg_attr(docsrs, doc(cfg(feature = "memory")))]
pub mod memory;
#[cfg(feature = "object-store")]
#[cfg_attr(docsrs, doc(cfg(feature = "object-store")))]
pub mod object_store;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub mod postgres;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis;
#[cfg(feature = "registry")]
#[cfg_attr(docsrs, doc(cfg(feature = "registry")))]
pub mod registry;
mod restore;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod tiers;
pub mod versioned;

#[cfg(feature = "file")]
pub use file::{FileConfigError, FileProvider, FileStore, FileStoreBuilder};
pub use listener::NotificationListener;
#[cfg(feature = "memory")]
pub use memory::{MemoryProvider, MemoryStore};
#[cfg(feature = "object-store")]
pub use object_store::{BucketConfigError, BucketStore, BucketStoreBuilder};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresConfigError, PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use redis::{RedisConfigError, RedisProvider, RedisStore, RedisStoreBuilder};
#[cfg(feature = "registry")]
pub use registry::{OpenProvider, ProviderRegistry, RegistryError, StoreUrl};
pub use tiers::{ReadOnly, Tiered};
pub use versioned::{Versioned, VersionedConfigError, VersionedProvider};

// The example of the README compiles and runs.
#[cfg(all(doctest, feature = "memory"))]
#[doc = include_str!("../README.md")]
struct Readme;
