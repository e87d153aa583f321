#![doc = include_str!("docs.md")]

mod builder;
mod client;
mod error;
mod listener;
mod store;
mod table;
mod tls;

pub use builder::PostgresStoreBuilder;
pub use error::PostgresConfigError;
pub use store::PostgresStore;
