#![doc = include_str!("docs.md")]

mod builder;
mod connection;
mod copy;
mod error;
#[cfg(feature = "testing")]
pub(crate) mod inspector;
mod leadership;
mod provider;
mod scripts;
mod shared;
mod store;

pub use builder::{RedisConfigError, RedisStoreBuilder};
pub use provider::RedisProvider;
pub use store::RedisStore;
