#![doc = include_str!("docs.md")]

mod config;
mod error;
mod failure;
mod identity;
mod lock;
mod open;
mod provider;
mod seat;
mod store;
mod stored_copy;
mod tending;
mod watch;

pub use config::{FileConfigError, FileStoreBuilder};
pub use provider::FileProvider;
pub use store::FileStore;
