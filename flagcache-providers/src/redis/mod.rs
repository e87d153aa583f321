#![doc = include_str!("docs.md")]

mod builder;
mod cached_copy;
mod config;
mod connection;
mod error;
#[cfg(feature = "testing")]
pub(crate) mod inspector;
mod keys;
mod leadership;
mod provider;
mod scripts;
mod shared;
mod store;
mod stored_body;

pub use builder::{RedisConfigError, RedisStoreBuilder};
pub use provider::RedisProvider;
pub use store::RedisStore;
