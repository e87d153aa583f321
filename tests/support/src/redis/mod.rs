//! Redis: one server, a primary with Sentinels, a cluster.

mod cluster;
mod sentinels;
mod server;

pub use cluster::{RedisCluster, SlotMove};
pub use sentinels::RedisSentinels;
pub use server::RedisServer;
