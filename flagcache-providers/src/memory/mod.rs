//! A store inside one process: its pollers share one copy, and one of them fetches.
//!
//! # Guarantees
//!
//! - One leader at a time. The lead is a lease on the runtime's clock (`tokio::time`, so it follows a paused clock in
//!   tests); each decision of the leader renews it.
//! - A leader that shuts down or is dropped frees the lead at once, and the others are told. One that stops asking loses
//!   it when the lease ends: after twice its poll interval and its present backoff, at least
//!   [10 s](MemoryStore::DEFAULT_LEASE).
//! - A publish tells all other pollers at once. A worker that is not the leader can fill an empty store but never
//!   overwrites a copy.
//! - Nothing is copied: all pollers hold the same buffer. Nothing is written anywhere.
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
