#![doc = include_str!("docs.md")]

mod allowance;
mod body;
mod call;
mod clock;
mod config;
mod copy;
mod endpoint;
mod error;
#[cfg(feature = "testing")]
pub(crate) mod inspector;
mod keys;
mod lease;
mod link;
mod open;
mod provider;
mod race;
mod renewal;
mod scripts;
mod store;
mod tls;
mod url;
mod watch;

pub use config::{RedisConfigError, RedisStoreBuilder};
pub use provider::RedisProvider;
pub use store::RedisStore;
