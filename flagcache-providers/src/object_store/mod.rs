#![doc = include_str!("docs.md")]

mod bucket;
mod builder;
mod cloud;
mod error;
mod http;
mod store;

pub use builder::BucketStoreBuilder;
pub use error::BucketConfigError;
pub use store::BucketStore;
