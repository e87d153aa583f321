#![doc = include_str!("docs.md")]

mod builder;
mod candidate;
mod error;
mod failure;
mod fs;
mod identity;
mod leader_lock;
mod maintenance;
mod patch;
mod provider;
mod refresh;
mod shared;
mod store;
mod stored_copy;
mod watch;

pub use builder::{FileConfigError, FileStoreBuilder};
pub use provider::FileProvider;
pub use store::FileStore;
