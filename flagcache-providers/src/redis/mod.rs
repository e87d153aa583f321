#![doc = include_str!("docs.md")]

mod config;
mod copy;
mod error;
mod keys;
mod lease;
mod link;
mod provider;
mod renewal;
mod scripts;
mod store;
mod watch;

pub use config::{RedisConfigError, RedisStoreBuilder};
pub use provider::RedisProvider;
pub use store::RedisStore;
