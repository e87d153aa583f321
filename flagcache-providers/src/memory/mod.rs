//! [`MemoryStore`]: a store inside one process. Its pollers share one copy, and one of them fetches.
//!
//! # Guarantees
//!
//! - One leader at a time. Leadership is a lease on the runtime's clock (`tokio::time`, so it follows a paused clock in
//!   tests); each decision of the leader renews it.
//! - A leader that shuts down or is dropped releases leadership at once, and the other pollers are notified. One that
//!   stops asking loses it when the lease ends: after twice its poll interval and its current backoff, at least [10
//!   s](MemoryStore::DEFAULT_LEASE).
//! - A publish notifies all other pollers at once. A worker that is not the leader can fill an empty store but never
//!   overwrites a copy.
//! - A request for a refresh wakes the leader at once; without one, the next leader takes it.
//! - Nothing is copied: all pollers hold the same buffer. Nothing is written to disk.
//!
//! # Example
//!
//! ```
//! use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider};
//! use flagcache_providers::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let (leader, follower) = (store.provider(), store.provider());
//!
//! assert!(leader.should_fetch_flag_definitions().await?);
//! assert!(!follower.should_fetch_flag_definitions().await?);
//!
//! let json = r#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#;
//! leader.on_flag_definitions_received(&FlagDefinitionCacheData::from_json(json)?).await?;
//! assert!(follower.get_flag_definitions().await?.is_some());
//!
//! drop(leader);
//! assert!(follower.should_fetch_flag_definitions().await?);
//! # Ok(())
//! # }
//! ```

mod provider;
mod state;
mod store;

pub use provider::MemoryProvider;
pub use store::MemoryStore;
