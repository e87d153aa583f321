//! The connections to the servers of a [`RedisStore`](super::RedisStore), and the commands sent over them.

pub(super) mod call;
pub(super) mod client;
pub(super) mod config;
#[allow(clippy::module_inception, reason = "the type is its name")]
pub(super) mod connection;
pub(super) mod connector;
pub(super) mod credentials;
pub(super) mod endpoint;
pub(super) mod keys;
pub(super) mod race;
pub(super) mod rate_limit;
pub(super) mod tls;
pub(super) mod url;
